# Uses a file as HDF5 programs do: chunks, attributes, growing datasets, a second opener, a reader beside the writer
# (SWMR). Prints what must not depend on the file system.
import subprocess, sys, h5py, numpy as np

name = sys.argv[1]
rng = np.random.default_rng(7)

with h5py.File(name, "w", libver="latest") as f:
    f.attrs["title"] = "run 7"
    for g in range(5):
        group = f.create_group("g%d" % g)
        group.create_dataset("plain", data=rng.random((200, 301)))
        group.create_dataset("packed", data=np.arange(100_000) // 7, chunks=(1111,), compression="gzip", shuffle=True)
    f.create_dataset("grows", (0, 50), maxshape=(None, 50), chunks=(64, 50), dtype="f8")

# Opened for writing it is locked: others are refused, as the library does on a local file system.
with h5py.File(name, "r+", libver="latest") as f:
    code = "import h5py, sys\ntry: h5py.File(sys.argv[1], 'r+')\nexcept OSError as e: print('refused', e.errno)"
    print(subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True).stdout.strip())

# One writer, one reader of the growing file, who opens it again and again.
reader = """
import h5py, sys
print("ready", flush=True)
for line in sys.stdin:
    rows = int(line)
    with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as f:
        d = f["grows"]
        assert d.shape[0] >= rows, (d.shape, rows)
        for i in range(max(0, rows - 40), rows):
            assert (d[i] == i).all(), (i, d[i])
    print("seen", rows, flush=True)
"""
f = h5py.File(name, "r+", libver="latest")
d = f["grows"]
f.swmr_mode = True
r = subprocess.Popen([sys.executable, "-c", reader, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
print(r.stdout.readline().strip())
for rows in range(37, 1000, 37):
    d.resize((rows, 50))
    d[rows - 37:] = np.repeat(np.arange(rows - 37, rows), 50).reshape(37, 50)
    d.flush()
    print(rows, file=r.stdin, flush=True)
    print(r.stdout.readline().strip())
r.stdin.close()
print("reader", r.wait())
f.close()

with h5py.File(name, "r+") as f:  # in place
    f["g3/plain"][17:90, 5:200] = 4.5
    del f["g1"]
with h5py.File(name, "r") as f:
    print(f.attrs["title"], sorted(f))
    f.visititems(lambda n, o: print(n, o.shape, o.dtype, float(np.asarray(o[...], dtype="f8").sum())) if isinstance(o, h5py.Dataset) else None)
