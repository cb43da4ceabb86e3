"""Monitoring: how old, how far off, how healthy.

Key inputs: manifests of every asset and the clock; what the champion saw, said and missed. Key outputs: `model_drift`,
checks with value and limit.
Known when: ages are measured in market time by the platform's clock.
"""
