"""CPython's own main, begun a second time: how modules, folders and archives are run in the waiting child.

`Py_RunMain` runs what the interpreter's configuration says and ends the interpreter; the
C library's own start calls it from C and exits with what it returns. So, with the
configuration `python3 -m` would have made, a program finds what it finds there, down
to the outermost frame, without a new interpreter. Runs in the child; scripts have a
shorter way in child.py.
"""

# Those of which it is known that main may begin again. Others execute an interpreter.
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
# More than a PyConfig of any of them.
CONFIGURATION_BYTES = 4096
NEEDED = ("gnu_get_libc_version", "__libc_start_main", "_PyConfig_AsDict", "_PyConfig_FromDict")


class SecondMain:
    """`is_there` says whether it can be had: not with every C library, nor every Python."""

    def __init__(self, api):
        known = OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON
        self.is_there = known and all(hasattr(api, name) for name in NEEDED)
        if not self.is_there:
            return
        address = ctypes.c_void_p
        self.start = api["__libc_start_main"]
        self.start.argtypes = [address, ctypes.c_int, address, address, address, address, address]
        self.main = ctypes.cast(api.Py_RunMain, address)
        # It wants some function of initialisation, or runs that of the executable a second time.
        self.no_initialisation = ctypes.cast(api.getppid, address)
        self.as_dict = api["_PyConfig_AsDict"]
        self.as_dict.restype = ctypes.py_object
        self.api = api

    def prepare(self, program, at_exit):
        """What C is to call to run a module or an archive. `at_exit` is called late, when an exception is still known."""
        command = [os.fsdecode(part) for part in program["command"][1:]]
        module, entry = program["module"], program["entry"]
        # Without what `-c` added, with what `site` did: the configuration knows of neither.
        path = sys.path[1:]
        self.configure(
            run_module=module or None,
            run_filename=None if module else os.path.normpath(os.path.join(WORK, entry)),
            run_command=None,
            argv=["-m" if module else entry] + program["args"],
            orig_argv=command,
            parse_argv=0,
            inspect=0,
        )
        sys.path = path
        # Since 3.13: one main at a time.
        leave_first = getattr(self.api, "_PyInterpreterState_SetNotRunningMain", None)
        if leave_first:
            self.api.PyInterpreterState_Get.restype = ctypes.c_void_p
            leave_first(ctypes.c_void_p(self.api.PyInterpreterState_Get()))
        __import__("atexit").register(at_exit)
        nothing = self.no_initialisation, None, None, None
        return _functools.partial(self.start, self.main, 0, None, *nothing)

    def configure(self, **changes):
        now, new = (ctypes.create_string_buffer(CONFIGURATION_BYTES) for _ in range(2))
        for configuration in (now, new):
            self.api.PyConfig_InitPythonConfig(configuration)
        if self.api["_PyInterpreterState_GetConfigCopy"](now) < 0:
            raise RuntimeError("the configuration cannot be read")
        told = dict(self.as_dict(now))
        told.update(changes)
        if self.api["_PyConfig_FromDict"](new, ctypes.py_object(told)) < 0:
            raise RuntimeError("the configuration cannot be changed")
        if self.api["_PyInterpreterState_SetConfig"](new) < 0:
            raise RuntimeError("the configuration cannot be set")
