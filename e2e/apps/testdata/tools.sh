#!/usr/bin/env bash
# What people do in a directory. Prints what must not depend on the file system.
set -euo pipefail
unset MAKELEVEL MAKEFLAGS MFLAGS # of the make that runs the tests

mkdir -p src/deep/er
for i in 1 2 3 4 5 6 7 8; do seq "$i" $((i * 500)) >"src/deep/f$i"; done
ln -s deep/f1 src/link
ln src/deep/f2 src/deep/er/hard
chmod 640 src/deep/f3
touch -d '2001-02-03 04:05:06.789' src/deep/f4
truncate -s 3M src/sparse
mkfifo src/fifo

# Copies keep everything.
show() { (cd "$1" && find . -printf '%P %y %m %U %G %n %s %TY-%Tm-%Td %TT %l\n' | grep -v '^ ' | sort); }
files() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k2); }
cp -a src copied
tar --format=posix -cf all.tar src && mkdir untarred && tar -xpf all.tar -C untarred
for copy in copied untarred/src; do
  diff <(show src | grep -v '^[^ ]* d') <(show "$copy" | grep -v '^[^ ]* d')
  diff <(files src) <(files "$copy")
done
files src

# Editors save by rename; find compares times.
find src -exec touch -h -d 2001-01-01 {} +
touch -d 2001-06-01 mark
sed -i 's/^5$/five/' src/deep/f1
grep -c five src/deep/f1
touch -d 2002-01-01 src/deep/f5
find src -newer mark -type f | sort

# make builds what is older than what it is made of, and nothing twice.
mkdir build && cd build
printf 'int f(void);\nint main(void) { return f(); }\n' >main.c
printf 'int f(void) { return 0; }\n' >f.c
printf 'prog: main.o f.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -c -o $@ $<\n' >Makefile
make && ./prog && make
touch -d 2001-01-01 f.o
make && ./prog
cd ..

# git keeps a repository whole.
git init -q repo && cd repo
git config user.email a@b && git config user.name n
cp -r ../src/deep . && git add . && git commit -qm one
git mv deep/f1 moved && git commit -qam two
git checkout -q -b other HEAD~1 && echo x >>deep/f2 && git commit -qam three
git rebase -q master 2>/dev/null || git rebase -q main
git gc -q --aggressive && git fsck --strict 2>/dev/null
git clone -q . ../clone && (cd ../clone && git log --format=%s && git status --short && git ls-files | wc -l)
