# What the lines of the tables may use.
d=$(mktemp -d /tmp/mtXXXXXX)
trap 'rm -rf "$d"' EXIT
PYTHON=/usr/bin/python3

# Listens on a port of the loopback device, sends the second argument to the first who connects, and reads to the end.
serve() {
    $PYTHON -c 'import socket, sys
s = socket.socket()
s.setsockopt(1, 2, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(1)
s.settimeout(8)
try:
    c, _ = s.accept()
    c.settimeout(4)
    c.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
    while c.recv(4096):
        pass
except OSError:
    pass' "$1" "${2:-id;exit\\n}" &
    sleep 0.6
}

# Connects, sends the second argument and reads to the end; nobody need be there.
connect() {
    $PYTHON -c 'import socket, sys
try:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 4)
    s.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
    s.shutdown(1)
    while s.recv(4096):
        pass
except OSError:
    pass' "$1" "$2"
}

# As a user without rights.
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

# A system call by its number; it may fail.
syscall() {
    $PYTHON -c 'import ctypes, sys
ctypes.CDLL(None).syscall(*[ctypes.c_long(int(n)) for n in sys.argv[1:]])' "$@"
}

# Opens a file by the system call of 32-bit programs, from a 64-bit one.
int80() {
    $PYTHON -c 'import ctypes, mmap, sys
m = mmap.mmap(-1, 4096, flags=0x62, prot=7)
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
path = sys.argv[1].encode() + bytes(1)
m[256:256 + len(path)] = path
code = b"\x53\xb8\x05\0\0\0\xbb" + (base + 256).to_bytes(4, "little") + b"\x31\xc9\x31\xd2\xcd\x80\x5b\xc3"
m[0:len(code)] = code
fd = ctypes.CFUNCTYPE(ctypes.c_int)(base)()
sys.exit(fd < 0)' "$1"
}

# Opens a file by its handle.
handle() {
    $PYTHON -c 'import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 136)
mount = ctypes.c_int()
if libc.name_to_handle_at(-100, sys.argv[1].encode(), handle, ctypes.byref(mount), 0) == 0:
    fd = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
    libc.open_by_handle_at(fd, handle, 0)
else:
    sys.exit(1)' "$1"
}

# A request through an io_uring.
ring() { ${RING:-$PYTHON} "$DATA/ring.py" "$@"; }

# Makes a BPF map, opens it again by its number if told so, and changes it.
map() {
    $PYTHON -c 'import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    return libc.syscall(321, command, buffer, 128)
fd = bpf(0, struct.pack("<IIII", 2, 4, 4, 1))
if fd < 0:
    sys.exit(1)
if sys.argv[1] == "by-number":
    lines = open(f"/proc/self/fdinfo/{fd}").read().split("\n")
    number = [int(line.split()[1]) for line in lines if line.startswith("map_id")][0]
    fd = bpf(14, struct.pack("<I", number))
key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(4)
result = bpf(2, struct.pack("<IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
sys.exit(result != 0)' "$1"
}

# Runs a command in a control group whose path is the one of a container of docker.
contained() {
    local root=/sys/fs/cgroup/unified group
    [ -d $root ] || root=/sys/fs/cgroup
    group=$root/docker-$(printf '%064x' $$).scope
    mkdir "$group"
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
    local code=$?
    for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir "$group" 2>/dev/null && break || sleep 0.1; done
    return $code
}

# Runs a program that does nothing under a name of one's choice.
as() {
    cp /bin/true "$d/$1"
    "$d/$1" "${@:2}"
}
