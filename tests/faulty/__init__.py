"""A server that speaks every protocol and does wrong whatever a server can do wrong, byte by byte.

``tests/endpoint.py`` answers as a server would; here the answer is written out as bytes on the wire:

* `server`: the sockets, and the acts an answer is made of;
* `http`: answers as bytes;
* `dialects`: what each protocol says in them;
* `faults`: what can go wrong, and what a call must make of it.
"""
