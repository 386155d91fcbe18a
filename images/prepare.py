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
    without a network has an empty /etc/hosts, whatever the image has there.
"""

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import sysconfig

FIRST_ID = 10000
IDS = 256

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
    "/usr/lib/python3.13/sitecustomize.py",
]


def main():
    add_accounts()
    resolve_localhost()
    compile_modules()
    remove_ballast()
    make_folders()
    os.unlink(__file__)
    drop_privileges_of_files()
    check()


def add_accounts():
    ids = range(FIRST_ID, FIRST_ID + IDS)
    append_missing("/etc/passwd", {f"sandbox{i - FIRST_ID}": f"x:{i}:{i}:pyexec sandbox:/work:/bin/sh" for i in ids})
    append_missing("/etc/group", {f"sandbox{i - FIRST_ID}": f"x:{i}:" for i in ids})


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


def compile_modules():
    for folder in module_folders():
        command = [sys.executable, "-I", "-m", "compileall", "-q", "-f", "-j", "0"]
        done = subprocess.run([*command, "--invalidation-mode", "unchecked-hash", folder], check=False)
        # A few packages ship files for other Python versions, which do not compile. The standard library must.
        if done.returncode != 0 and folder == sysconfig.get_path("stdlib"):
            sys.exit(f"{folder} does not compile")


def module_folders():
    places = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/lib/python3/dist-packages"]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def remove_ballast():
    for folder in filter(os.path.isdir, EMPTIED):
        for entry in os.scandir(folder):
            remove(entry.path)
    for path in REMOVED:
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


def files():
    root_device = os.lstat("/").st_dev
    folders = ["/"]
    while folders:
        for entry in os.scandir(folders.pop()):
            status = entry.stat(follow_symlinks=False)
            if status.st_dev != root_device or stat.S_ISLNK(status.st_mode):
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
