package doors

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
	"k3fs/internal/transittest"
)

// withKeyService starts a daemon whose keys are wrapped by a transit engine, and may be used for life without it.
func withKeyService(t *testing.T, life time.Duration) (doors, *transittest.Engine) {
	engine := transittest.New(t)
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(transittest.Token), 0o600))
	d := harness.Start(t, harness.Options{Env: []string{"K3FS_KEY_SERVICE__KIND=transit", "K3FS_KEY_SERVICE__ADDRESS=" + server.URL,
		"K3FS_KEY_SERVICE__KEY=k3fs-{tenant}", "K3FS_KEY_SERVICE__TOKEN_FILE=" + token, "K3FS_KEY_SERVICE__LIFE=" + life.String()}})
	return open(t, d, "data"), engine
}

// requireUnavailable: S3 says that it can't now, and nothing else.
func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, minio.ToErrorResponse(err).StatusCode, "%v", err)
}

// While the key service is away both doors read on for as long as keys live, then answer 503 and EIO, never other
// bytes; and when it is back all is as it was.
func TestKeyServiceAway(t *testing.T) {
	const life = 3 * time.Second
	d, engine := withKeyService(t, life)
	want := make([]byte, 1<<20)
	rand.Read(want)
	name := func(i int) string { return fmt.Sprintf("file-%d", i) }
	const files = 4 // that the kernel has nothing of
	for i := range files {
		d.put(name(i), want)
	}
	fresh := 0

	engine.SetAway(true)
	var err error
	for reads := 0; err == nil; reads++ {
		var got []byte
		got, err = d.get(name(0))
		cached := time.Now().Before(engine.Decrypted().Add(life))
		require.False(t, cached && err != nil, "a key that lives was not used: %v", err)
		if err == nil {
			require.True(t, bytes.Equal(want, got))
		}
		if reads == 0 && err == nil { // by the mount, too
			got, failed := os.ReadFile(d.path(name(fresh)))
			if fresh++; failed == nil {
				require.True(t, bytes.Equal(want, got))
			} else {
				require.False(t, time.Now().Before(engine.Decrypted().Add(life)), "a key that lives was not used: %v", failed)
			}
		}
	}
	_, err = d.get(name(0)) // the one before may have begun with the key, and broken off without
	requireUnavailable(t, err)

	for ; fresh < files; fresh++ {
		_, err := os.ReadFile(d.path(name(fresh)))
		require.ErrorIs(t, err, unix.EIO)
	}
	_, err = d.c.PutObject(context.Background(), d.bucket, "new", bytes.NewReader(want), int64(len(want)), minio.PutObjectOptions{})
	requireUnavailable(t, err)
	require.ErrorIs(t, write(d.path("written"), want), unix.EIO)
	requireUnavailable(t, func() error { _, err := d.get(name(1)); return err }())

	engine.SetAway(false)
	require.Eventually(t, func() bool {
		got, err := d.get(name(0))
		return err == nil && bytes.Equal(want, got)
	}, time.Minute, 20*time.Millisecond)
	for i := range files {
		got, err := os.ReadFile(d.path(name(i)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
	_, err = d.c.StatObject(context.Background(), d.bucket, "new", minio.StatObjectOptions{})
	require.Equal(t, http.StatusNotFound, minio.ToErrorResponse(err).StatusCode, "what was refused is not there: %v", err)
	d.put("new", want)
	require.NoError(t, write(d.path("written"), want))
	for _, key := range []string{"new", "written"} {
		got, err := d.get(key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), key)
	}
}

// write writes a file and waits until it is durable.
func write(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}
