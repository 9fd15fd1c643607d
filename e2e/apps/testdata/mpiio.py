# One rank of a job that shares a file, as MPI-IO does (ROMIO's data sieving): each rank writes its blocks, interleaved with
# those of the others and aligned to nothing, some directly, some by reading, changing and writing back a range under a
# lock. After each round a rank syncs, waits for the others (a line from stdin), and reads what all of them wrote.
import fcntl, os, sys

name, rank, ranks, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
size, blocks = 10_007, 40
fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)

def block(round, i):
    return bytes([(round * 31 + i * 7) % 251]) * size

def sieve(start, end, change):
    fcntl.lockf(fd, fcntl.LOCK_EX, end - start, start)
    have = bytearray(os.pread(fd, end - start, start).ljust(end - start, b"\0"))
    change(have)
    assert os.pwrite(fd, have, start) == len(have)
    fcntl.lockf(fd, fcntl.LOCK_UN, end - start, start)

for round in range(rounds):
    for i in range(rank, blocks, ranks):
        at, data = i * size, block(round, i)
        if round % 2 == 0:
            assert os.pwrite(fd, data, at) == size
            continue
        start, end = max(0, at - 3000), at + size + 3000  # parts of the neighbours' blocks, too
        def change(have):
            have[at - start:at - start + size] = data
        sieve(start, end, change)
    os.fsync(fd)
    print("written", flush=True)
    sys.stdin.readline()
    for i in range(blocks):
        got = os.pread(fd, size, i * size)
        assert got == block(round, i), (rank, round, i, got[:8], len(got), got.count(got[:1]))
    print("read", flush=True)
    sys.stdin.readline()
os.close(fd)
