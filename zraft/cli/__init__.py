"""The command line: one file per noun, argument parsing and printing, nothing else.

`main` is the frame. It imports a noun's file when that noun is used: a node must not pay for the monitor it never shows.
"""
