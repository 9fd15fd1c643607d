#!/usr/bin/env bash
# Saves with vim in all its ways. Prints what must not depend on the file system.
set -euo pipefail
vi() { vim.tiny -u NONE -i NONE -n -es "$@" </dev/null; }

for copy in auto no yes; do
  for backup in nobackup backup; do
    mkdir "$copy-$backup" && cd "$copy-$backup"
    seq 1 5000 >f && chmod 640 f
    seq 1 10 >linked && ln linked other
    seq 1 10 >target && ln -s target link
    for name in f linked link new; do
      vi -c "set backupcopy=$copy $backup" -c 'normal Oadded' -c 'w' -c '%s/^5$/five/e' -c 'wq' "$name"
    done
    for name in *; do
      echo "$copy $backup $name $(stat -c '%F %a %h %s' "$name") $(sha256sum <"$name")"
    done
    cd ..
  done
done
