"""Where artefacts live: immutable, hashed files behind one pointer a table.

Key inputs: frames, weights and records made by the stages. Key output: the same, later, exactly.
Known when: every publication carries the moment it was made, so a table can be read as of any moment.
"""
