"""Settings flow in; tiles cut from a real image flow out, with their true places. The step `demo` (make.py) is the door."""
