"""Turns the root file system it runs in into a sandbox image.

Runs as root inside `docker build`, with the image's own Python and nothing
else, as the last step of every image in this folder. It deletes itself.

What it guarantees, and checks before it ends:
  * no file has a setuid or setgid bit, and none has capabilities;
  * every module of the standard library is compiled, and is used without a
    look at its source's time stamp: the root is read-only when programs run;
  * uids and gids 10000..10255 have a name, because getpass, pathlib and many
    libraries fail for a uid that has none;
  * localhost has an address where libnss-myhostname is installed: a container
    without a network has an empty /etc/hosts, whatever the image has there;
  * where Matplotlib is installed its list of fonts is made, and it draws accented
    and CJK text without a setting;
  * no file is younger than EPOCH, so that the same packages make the same layer;
  * /usr/share/pyexec says what is inside, and so does the line this prints last.
"""

import glob
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import stat
import subprocess
import sys
import sysconfig

FIRST_ID = 10000
IDS = 256
# 2026-01-01. What the build makes or touches would otherwise carry the minute it was built in.
EPOCH = 1767225600
# The set-up takes the image's labels from the line that begins so.
MANIFEST_PREFIX = "pyexec-manifest: "
CONTENTS = pathlib.Path("/usr/share/pyexec")
# Drawn with where the first family has no glyph: Han, kana and hangul in one file.
FALLBACK_FONT = "WenQuanYi Micro Hei"

# Emptied, not removed: apt and logrotate expect the folders of an image that is built on this one.
EMPTIED = ["/var/lib/apt/lists", "/var/cache", "/var/log", "/var/tmp", "/tmp", "/run", "/root"]
REMOVED = [
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/locale",
    "/usr/share/bash-completion",
    "/usr/share/bug",
    "/usr/share/lintian",
    "/usr/share/pixmaps",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/available-old",
    "/var/lib/systemd",
    # Debian's crash reporter hook: an import that fails at every start, and official Python does not have it.
    "/usr/lib/python3.*/sitecustomize.py",
    # The Unicode database as text, which a package of font tools asks for; nothing in Python reads it.
    "/usr/share/unicode",
    # Dates and numbers of the build, in files that programs only append to.
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/.pwd.lock",
]
# Tests of packages: a third of what an image with scientific packages would weigh.
PACKAGE_TESTS = "tests"


def main():
    add_accounts()
    resolve_localhost()
    remove_tests_of_packages()
    CONTENTS.mkdir(exist_ok=True)
    prepare_matplotlib()
    compile_modules()
    manifest = write_contents()
    remove_ballast()
    make_folders()
    os.unlink(__file__)
    drop_privileges_of_files()
    check()
    settle_times()
    print(MANIFEST_PREFIX + json.dumps(manifest, separators=(",", ":"), sort_keys=True), flush=True)


def add_accounts():
    ids = range(FIRST_ID, FIRST_ID + IDS)
    append_missing("/etc/passwd", {f"sandbox{i - FIRST_ID}": f"x:{i}:{i}:pyexec sandbox:/work:/bin/sh" for i in ids})
    append_missing("/etc/group", {f"sandbox{i - FIRST_ID}": f"x:{i}:" for i in ids})
    # The third field is the day the account's password was changed: the day of the build.
    shadow = pathlib.Path("/etc/shadow")
    if shadow.exists():
        day = str(EPOCH // 86400)
        shadow.write_text(re.sub(r"(?m)^([^:\n]*:[^:\n]*:)\d+", lambda line: line[1] + day, shadow.read_text()))


def resolve_localhost():
    library = "libnss_myhostname.so.2"
    if not any(library in names for _, _, names in os.walk("/usr/lib")) and shutil.which("apt-get"):
        # The official image has no such package; without it only addresses work, as in any minimal image.
        subprocess.run(
            "apt-get update && apt-get install -y --no-install-recommends libnss-myhostname", shell=True, check=False
        )
    switch = pathlib.Path("/etc/nsswitch.conf")
    if any(library in names for _, _, names in os.walk("/usr/lib")) and switch.exists():
        lines = switch.read_text().splitlines()
        lines = ["hosts:          files myhostname dns" if line.startswith("hosts:") else line for line in lines]
        switch.write_text("\n".join(lines) + "\n")


def append_missing(path, entries):
    present = {line.split(":", 1)[0] for line in pathlib.Path(path).read_text().splitlines()}
    with open(path, "a") as database:
        for name, fields in entries.items():
            if name not in present:
                database.write(f"{name}:{fields}\n")


def package_folders():
    places = [sysconfig.get_path("purelib"), "/usr/lib/python3/dist-packages"]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def remove_tests_of_packages():
    """All but private modules, which numpy.testing imports some of, and so does scipy."""
    for place in package_folders():
        for folder, names, _ in os.walk(place):
            if PACKAGE_TESTS in names:
                names.remove(PACKAGE_TESTS)
                for inner, _, files in os.walk(os.path.join(folder, PACKAGE_TESTS), topdown=False):
                    for file in files:
                        if not (file.startswith("_") and file.endswith(".py")):
                            remove(os.path.join(inner, file))


def prepare_matplotlib():
    """Makes the list of fonts, has Matplotlib read that one and no other, and sets what it draws with."""
    found = [path for place in package_folders() for path in glob.glob(place + "/matplotlib/font_manager.py")]
    if not found:
        return
    folder = CONTENTS / "matplotlib"
    folder.mkdir(exist_ok=True)
    script = (
        "import matplotlib, matplotlib.font_manager as f\n"
        "f.fontManager.ttflist.sort(key=lambda font: font.fname)\n"
        "f.fontManager.afmlist.sort(key=lambda font: font.fname)\n"
        "f.json_dump(f.fontManager, '%s/fontlist-v%%s.json' %% f.FontManager.__version__)\n"
        "assert any(font.name == '%s' for font in f.fontManager.ttflist)\n"
        "print(matplotlib.get_data_path())" % (folder, FALLBACK_FONT)
    )
    environment = {**os.environ, "MPLCONFIGDIR": "/tmp/matplotlib"}
    command = [sys.executable, "-I", "-B", "-c", script]
    data = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout.strip()
    module = pathlib.Path(found[0])
    head, start, rest = module.read_text().partition("def _load_fontmanager(")
    if rest.count("mpl.get_cachedir()") != 1:
        sys.exit("Matplotlib looks for its list of fonts in another way than this knows")
    module.write_text(head + start + rest.replace("mpl.get_cachedir()", "'%s'" % folder))
    # The defaults themselves, in the file's own form, so that a matplotlibrc of the program's still wins.
    # There is no screen: nothing else than agg is looked for.
    settings = (pathlib.Path(data) / "matplotlibrc").resolve()
    defaults = settings.read_text()
    for pattern, line in (
        (r"(?m)^##backend:.*$", "backend: agg"),
        (r"(?m)^#font\.family:.*$", "#font.family: sans-serif, %s" % FALLBACK_FONT),
    ):
        defaults, count = re.subn(pattern, line, defaults)
        if count != 1:
            sys.exit("no line of %s matches %s" % (settings, pattern))
    settings.write_text(defaults)


def write_contents():
    """Leaves in the image what is in it, and returns it in short."""
    packages = {}
    for distribution in importlib.metadata.distributions(path=package_folders()):
        name = distribution.metadata["Name"]
        if name and name.lower() not in ("pip", "setuptools", "wheel"):
            packages[re.sub(r"[-_.]+", "-", name).lower()] = distribution.version
    system = ""
    if shutil.which("dpkg-query"):
        command = ["dpkg-query", "--show", "--showformat=${binary:Package} ${Version}\\n"]
        system = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    (CONTENTS / "system-packages.txt").write_text("".join(sorted(system.splitlines(keepends=True))))
    manifest = {
        "python": platform.python_version(),
        "packages": packages,
        "system": hashlib.sha256((CONTENTS / "system-packages.txt").read_bytes()).hexdigest()[:12],
    }
    (CONTENTS / "contents.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def compile_modules():
    # Byte code of other places is of the minute it was made in, and never read.
    for folder, names, _ in os.walk("/usr"):
        if "__pycache__" in names:
            remove(os.path.join(folder, "__pycache__"))
    for folder in module_folders():
        command = [sys.executable, "-I", "-m", "compileall", "-q", "-f", "-j", "0"]
        done = subprocess.run([*command, "--invalidation-mode", "unchecked-hash", folder], check=False)
        # A few packages ship files for other Python versions, which do not compile. The standard library must.
        if done.returncode != 0 and folder == sysconfig.get_path("stdlib"):
            sys.exit(f"{folder} does not compile")


def module_folders():
    return list(dict.fromkeys([sysconfig.get_path("stdlib"), *package_folders()]))


def remove_ballast():
    for folder in filter(os.path.isdir, EMPTIED):
        for entry in os.scandir(folder):
            remove(entry.path)
    for pattern in REMOVED:
        for path in glob.glob(pattern):
            remove(path)
    # Licences stay; the rest of the documentation goes.
    for package in os.scandir("/usr/share/doc"):
        if package.is_dir(follow_symlinks=False):
            for entry in os.scandir(package.path):
                if entry.name != "copyright":
                    remove(entry.path)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def make_folders():
    for path, mode in (("/work", 0o755), ("/tmp", 0o1777)):
        os.makedirs(path, exist_ok=True)
        os.chown(path, 0, 0)
        os.chmod(path, mode)


def files(links=False):
    root_device = os.lstat("/").st_dev
    folders = ["/"]
    while folders:
        for entry in os.scandir(folders.pop()):
            status = entry.stat(follow_symlinks=False)
            if status.st_dev != root_device or (stat.S_ISLNK(status.st_mode) and not links):
                continue
            yield entry.path, status
            if stat.S_ISDIR(status.st_mode):
                folders.append(entry.path)


def drop_privileges_of_files():
    for path, status in files():
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))
        if "security.capability" in os.listxattr(path):
            os.removexattr(path, "security.capability")


def settle_times():
    for path, status in [*files(links=True), ("/", os.lstat("/"))]:
        if status.st_mtime > EPOCH:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def check():
    privileged = [
        path
        for path, status in files()
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID) or "security.capability" in os.listxattr(path)
    ]
    if privileged:
        sys.exit(f"still privileged: {privileged}")


if __name__ == "__main__":
    main()
