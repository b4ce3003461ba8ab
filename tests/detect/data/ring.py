"""One request through an io_uring, with nothing but system calls: `ring.py open PATH`, `ring.py connect PORT`."""
import ctypes
import mmap
import socket
import struct
import sys

SETUP, ENTER = 425, 426
OPENAT, CONNECT = 18, 16
SQ_RING, SQES = 0, 0x10000000

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def check(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def request(opcode, fd, address, length, offset=0):
    params = ctypes.create_string_buffer(120)
    ring = check(libc.syscall(SETUP, 4, params), "io_uring_setup")
    # struct io_uring_params: entries, then the offsets of the submission ring from byte 40.
    head, tail, mask, _entries, _flags, _dropped, array = struct.unpack_from("<7I", params, 40)
    submission = mmap.mmap(ring, array + 4 * 4, offset=SQ_RING)
    entries = mmap.mmap(ring, 64 * 4, offset=SQES)
    # struct io_uring_sqe: opcode, flags, ioprio, fd, off, addr, len, flags of the operation.
    entry = struct.pack("<BBHiQQII", opcode, 0, 0, fd, offset, address, length, 0)
    entries[0 : len(entry)] = entry
    submission[array : array + 4] = struct.pack("<I", 0)
    submission[tail : tail + 4] = struct.pack("<I", 1)
    # Submit one, wait for one.
    check(libc.syscall(ENTER, ring, 1, 1, 1, None, 0), "io_uring_enter")


what, argument = sys.argv[1:3]
if what == "open":
    path = ctypes.create_string_buffer(argument.encode())
    request(OPENAT, -100, ctypes.addressof(path), 0)
elif what == "connect":
    client = socket.socket()
    address = struct.pack("<H", socket.AF_INET) + struct.pack(">H", int(argument)) + socket.inet_aton("127.0.0.1") + bytes(8)
    buffer = ctypes.create_string_buffer(address, 16)
    request(CONNECT, client.fileno(), ctypes.addressof(buffer), 0, offset=16)
