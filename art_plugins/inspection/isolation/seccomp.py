"""
Linux's seccomp: the kernel then refuses this process everything that a network does not need for computing.

This binds all threads for good. The kernel refuses to open a file for writing, to change, rename or remove a file, to reach
a network, to start a program or a process, to send a signal to another process, to trace it or to read its memory, to take
memory that the limits do not count, and to administer the system. See ``seccomp(2)``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

SECCOMP, ARCHITECTURE = {"x86_64": (317, 0xC000003E), "aarch64": (277, 0xC00000B7)}, ("x86_64", "aarch64")
SET_MODE_FILTER, ALL_THREADS = 1, 1
PR_SET_NO_NEW_PRIVS = 38
LOAD, EQUALS, AT_LEAST, HAS_BITS, RETURN, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54  # classic BPF
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # places in struct seccomp_data
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SHARED_ANONYMOUS = 0x21  # of mmap: memory that RLIMIT_DATA does not count
THREAD = 0x10000  # of clone: a thread, not a process
X32 = 0x40000000  # the other numbering of x86_64

# Name -> number on x86_64 and on aarch64, -1: not there. linux/arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h
REFUSED = {
    # files
    "rename": (82, -1), "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, -1), "mkdirat": (258, 34),
    "rmdir": (84, -1), "creat": (85, -1), "link": (86, -1), "linkat": (265, 37), "unlink": (87, -1), "unlinkat": (263, 35),
    "symlink": (88, -1), "symlinkat": (266, 36), "mknod": (133, -1), "mknodat": (259, 33), "truncate": (76, 45),
    "ftruncate": (77, 46), "fallocate": (285, 47), "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, -1), "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54),
    "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1), "utimensat": (280, 88), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "quotactl": (179, 60),
    # network and messages
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # programs and processes
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129),
    "tkill": (200, 130), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "setrlimit": (160, 164),
    # memory that is not counted, and ways around a filter
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # administration
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "mount_setattr": (442, 442), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "sethostname": (170, 161), "setdomainname": (171, 162), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "acct": (163, 89),
    "settimeofday": (164, 170), "adjtimex": (159, 171), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "iopl": (172, -1), "ioperm": (173, -1), "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "syslog": (103, 116), "vhangup": (153, 58),
}  # fmt: skip
NOT_THERE = {"clone3": (435, 435), "openat2": (437, 437)}  # libraries then use clone and openat, whose flags can be seen
OPEN, OPENAT, CLONE, MMAP, PRLIMIT = (2, -1), (257, 56), (56, 220), (9, 222), (302, 261)


def seccomp_is_possible() -> bool:
    """Whether this is a Linux with seccomp on a processor whose numbers are known."""
    if not sys.platform.startswith("linux") or platform.machine() not in SECCOMP or struct.calcsize("P") != 8:
        return False
    libc = ctypes.CDLL(None)
    refuse = ctypes.c_uint32(REFUSE)
    return bool(libc.syscall(SECCOMP[platform.machine()][0], 2, 0, ctypes.byref(refuse)) == 0)  # 2: is this action there?


def refuse_system_calls() -> None:
    """
    Install the filter for all threads of this process.

    :raises OSError: If the kernel does not accept the filter.
    """
    machine = platform.machine()
    program = filter_program(machine)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        SECCOMP[machine][0], SET_MODE_FILTER, ALL_THREADS, header
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def filter_program(machine: str) -> bytes:
    """The filter in the kernel's classic BPF, 8 bytes an instruction."""
    column = ARCHITECTURE.index(machine)
    refuse, absent = REFUSE | errno.EPERM, REFUSE | errno.ENOSYS
    lines = [(LOAD, 0, 0, ARCH), (EQUALS, 1, 0, SECCOMP[machine][1]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, refuse)]

    def when(numbers: tuple[int, int], *then: tuple[int, int, int, int]) -> None:
        if numbers[column] >= 0:
            lines.extend([(EQUALS, 0, len(then), numbers[column]), *then])

    for numbers in REFUSED.values():
        when(numbers, (RETURN, 0, 0, refuse))
    for numbers in NOT_THERE.values():
        when(numbers, (RETURN, 0, 0, absent))
    for numbers, place in ((OPEN, 1), (OPENAT, 2)):
        when(numbers, _argument(place), (HAS_BITS, 0, 1, WRITING), (RETURN, 0, 0, refuse), (RETURN, 0, 0, ALLOW))
    when(CLONE, _argument(0), (HAS_BITS, 1, 0, THREAD), (RETURN, 0, 0, refuse), (RETURN, 0, 0, ALLOW))
    shared = ((AND, 0, 0, SHARED_ANONYMOUS), (EQUALS, 0, 1, SHARED_ANONYMOUS), (RETURN, 0, 0, refuse))
    when(MMAP, _argument(3), *shared, (RETURN, 0, 0, ALLOW))
    # Limits may be asked for, with no new value, a null pointer.
    null = ((EQUALS, 0, 2, 0), (LOAD, 0, 0, ARGUMENTS + 8 * 2 + 4), (EQUALS, 1, 0, 0), (RETURN, 0, 0, refuse))
    when(PRLIMIT, _argument(2), *null, (RETURN, 0, 0, ALLOW))
    lines.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _argument(place: int) -> tuple[int, int, int, int]:
    """The instruction that loads the lower half of an argument."""
    return LOAD, 0, 0, ARGUMENTS + 8 * place
