"""Installs JMeter from a Maven repository by a lock file, and keeps that lock file.

`jmeter.lock` names every jar of a JMeter home by its path in the repository and its sha256. Three commands:

    python -m tools.jmeter install --home DIR   fetch what is missing, verify every jar, assemble the home
    python -m tools.jmeter verify --home DIR    compare every jar of a home with the lock
    python -m tools.jmeter lock                 resolve the modules anew and write jmeter.lock

The package needs no other part of Headroom: an image may copy `tools/` alone.
"""
