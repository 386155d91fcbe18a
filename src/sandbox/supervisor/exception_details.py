"""What is told of the exception that ended the program, beside what it wrote itself.

Only frames of the project's own files are kept. Runs in the child when the program
has failed and said so; it imports nothing, because a module of the project could
have any name. Best effort: whatever fails here is left out.
"""

MESSAGE_CHARACTERS = 2000
TRACEBACK_CHARACTERS = 8000
# How far the values an exception holds are looked into before its message is left out.
TOLD_DEPTH, TOLD_VALUES = 4, 1000
# How many notes, and how many exceptions of a group; how much of the message of one of these.
MEMBERS, MEMBER_CHARACTERS = 10, 200
# Of a deep traceback the first and the last frames are kept.
FIRST_FRAMES, LAST_FRAMES = 4, 12


def exception_details(problem, traceback):
    """Message, file and traceback as one text with NUL between them, and the line in that file."""
    frames = []
    while traceback is not None:
        frame = traceback.tb_frame
        if is_of_project(frame.f_code.co_filename):
            frames.append((frame.f_code.co_filename, traceback.tb_lineno or 0, frame.f_code.co_name))
        traceback = traceback.tb_next
    file, line = frames[-1][:2] if frames else ("", 0)
    if isinstance(problem, SyntaxError) and isinstance(problem.filename, str) and is_of_project(problem.filename):
        file, line = problem.filename, problem.lineno or 0
    message = message_of(problem)
    text = "\n".join(["".join(lines_of(frames)) + last_line_of(problem, message), *notes_of(problem), *members_of(problem)])
    return "\0".join(part.replace("\0", " ") for part in (message, file, text[-TRACEBACK_CHARACTERS:])), line


def last_line_of(problem, message):
    name = type(problem).__name__
    return "%s: %s" % (name, message) if message else name


def notes_of(problem):
    """What add_note() added, as far as it is text."""
    notes = vars(problem).get("__notes__")
    for note in (notes if type(notes) is list else ())[:MEMBERS]:
        if type(note) is str:
            yield note[:MESSAGE_CHARACTERS]


def is_group(problem):
    try:
        return isinstance(problem, BaseExceptionGroup)
    except NameError:
        # Before Python 3.11.
        return False


def members_of(problem, depth=0):
    """A line for each exception in a group: what went wrong is in them alone."""
    if depth == TOLD_DEPTH or not is_group(problem):
        return
    members = vars(BaseExceptionGroup)["exceptions"].__get__(problem)
    for member in members[:MEMBERS]:
        yield "  " * depth + "| " + last_line_of(member, message_of(member)[:MEMBER_CHARACTERS])
        yield from members_of(member, depth + 1)
    if len(members) > MEMBERS:
        yield "  " * depth + "| [%d more]" % (len(members) - MEMBERS)


def is_of_project(file):
    return file.startswith(WORK + "/")


def message_of(problem):
    """str() of the exception; not where that would run code of the project a second time."""
    if not is_told_without_project(problem):
        return ""
    try:
        return str(problem)[:MESSAGE_CHARACTERS]
    except BaseException:
        return ""


def is_told_without_project(value, depth=0):
    """Whether str() and repr() of a value, and of what it holds, are no code of the project."""
    kind = type(value)
    for name in ("__str__", "__repr__", "__format__"):
        describe = getattr(kind, name, None)
        if hasattr(describe, "__code__") and is_of_project(describe.__code__.co_filename):
            return False
    held = ()
    if isinstance(value, BaseException):
        # A group's own str() asks those in it for nothing.
        held = value.args[:1] if is_group(value) else value.args + tuple(value.__dict__.values())
    elif isinstance(value, (tuple, list, set, frozenset)):
        held = value
    elif isinstance(value, dict):
        held = [*value.keys(), *value.values()]
    if held and (depth == TOLD_DEPTH or len(held) > TOLD_VALUES):
        return False
    return all(is_told_without_project(each, depth + 1) for each in held)


def lines_of(frames):
    if frames:
        yield "Traceback (most recent call last):\n"
    left_out = max(0, len(frames) - FIRST_FRAMES - LAST_FRAMES)
    for index, (file, line, function) in enumerate(frames):
        if left_out and index == FIRST_FRAMES:
            yield "  [%d frames]\n" % left_out
        if index < FIRST_FRAMES or index >= FIRST_FRAMES + left_out:
            yield '  File "%s", line %d, in %s\n' % (file, line, function)
            source = source_of(file, line)
            if source:
                yield "    %s\n" % source


def source_of(file, line):
    try:
        with open(file, "rb") as opened:
            return opened.read(1 << 20).split(b"\n")[line - 1].decode("utf-8", "replace").strip()[:200]
    except (OSError, IndexError):
        return ""
