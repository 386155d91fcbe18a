"""What the child knows of its own end, in memory it shares with PID 1.

The program finds no descriptor for it, and can write there what it likes: what is read is
the program's word, and changes nothing but what is told of its own end. Part of PID 1's one
namespace, and of the child's.
"""

# Where the child leaves what it knows of its own end, and how long each of the two texts may be.
NOTE_BYTES = 1 << 20
EXCEPTION_NOTE = (0, 256)
DETAIL_NOTE = (512, 16384)
# Single bytes between the two: not zero when the program's last line has run and its interpreter ends; whether what
# the program says it shows is seen by nobody.
ENDING_NOTE, UNSEEN_NOTE = 511, 510
UNSEEN, UNSEEN_IF_NOTHING_CAME = 1, 2
VALUE_NOTE = (16896, NOTE_BYTES - 16896)


class Notes:
    """Written in the child, read in PID 1."""

    def __init__(self):
        self.memory = mmap.mmap(-1, NOTE_BYTES)

    def clear(self):
        """As new, and the memory that was written to is given back (MADV_REMOVE), where that can be had."""
        try:
            self.memory.madvise(9)
        except (OSError, ValueError, AttributeError):
            self.memory[:] = bytes(NOTE_BYTES)

    def leave(self, place, text, number=None):
        """Leaves a text and a number where PID 1 finds them once this process has ended: without one, how many bytes are cut off."""
        offset, length = place
        whole = text.encode("utf-8", "backslashreplace")
        data = whole[: length - 32].decode("utf-8", "ignore").encode()
        if number is None:
            number = min(len(whole) - len(data), (1 << 31) - 1)
        self.memory[offset : offset + 32] = b"%15d %15d\n" % (len(data), number)
        self.memory[offset + 32 : offset + 32 + len(data)] = data

    def say_ending(self):
        """The program's last line has run, and its interpreter ends."""
        self.memory[ENDING_NOTE] = 1

    def say_unseen(self, how):
        """What the program says it shows is seen by nobody: UNSEEN, or UNSEEN_IF_NOTHING_CAME."""
        self.memory[UNSEEN_NOTE] = how

    def is_ending(self):
        """Whether the program's interpreter is at its end. The program can say so too soon; it then waits longer to be heard."""
        return self.memory[ENDING_NOTE] != 0

    def shows_unseen(self, came):
        """Whether the program says that it shows something, where nobody watches. `came`: how much was shown."""
        unseen = self.memory[UNSEEN_NOTE]
        return unseen == UNSEEN or unseen == UNSEEN_IF_NOTHING_CAME and came == 0

    def read(self, place):
        """What the child left there, as (text, number), or None. It may be anything."""
        offset, length = place
        try:
            size, number = (int(part) for part in self.memory[offset : offset + 32].split())
            if 0 <= size <= length - 32 and 0 <= number < 1 << 31:
                return self.memory[offset + 32 : offset + 32 + size].decode("utf-8", "replace"), number
        except ValueError:
            pass
        return None
