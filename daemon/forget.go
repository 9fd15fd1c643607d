package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"k3fs/tenancy"
)

// ForgetSecrets takes the secrets that Load has read out of the process's environment, so that neither what it starts
// nor /proc/PID/environ has them: for that it writes over the memory in which the kernel passed them.
func ForgetSecrets() error {
	raw, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return fmt.Errorf("forget the secrets in the environment: %w", err)
	}
	defer clear(raw)
	var failed []error
	at := int64(0)
	for entry := range bytes.SplitSeq(raw, []byte{0}) {
		if name, value, _ := bytes.Cut(entry, []byte("=")); secretVariable(string(name), string(value)) {
			failed = append(failed, overwrite(at+int64(len(name))+1, len(value)))
		}
		at += int64(len(entry)) + 1
	}
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); secretVariable(name, value) {
			failed = append(failed, os.Unsetenv(name))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("forget the secrets in the environment: %w", err)
	}
	return nil
}

// secretVariable reports whether a variable holds a secret, and no name of a file.
func secretVariable(name, value string) bool {
	if oneOf(name, "K3FS_MASTER_KEY", "K3FS_OLD_MASTER_KEY") {
		return tenancy.IsMaster(value)
	}
	for _, s := range secretSources {
		if name == s.env {
			return value != ""
		}
	}
	return false
}

// overwrite writes zeros over n bytes of the environment that the process was started with.
func overwrite(off int64, n int) error {
	start, err := environStart()
	if err != nil {
		return err
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = mem.WriteAt(make([]byte, n), start+off)
	return errors.Join(err, mem.Close())
}

// environStart is where in memory the kernel put the environment: field 50 of proc_pid_stat(5).
func environStart() (int64, error) {
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw[bytes.LastIndexByte(raw, ')')+1:]), " ")
	if fields := strings.Fields(rest); len(fields) >= 50-2 {
		return strconv.ParseInt(fields[50-3], 10, 64)
	}
	return 0, errors.New("/proc/self/stat has too few fields")
}
