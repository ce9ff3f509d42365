"""The steps of the set-up: Python packages, Java, JMeter and HAProxy. Standard library only.

`setup.py` is the command line; each other module is one part. A step that is done is found to be so in milliseconds.
"""
