package namespace

import (
	"context"
	"path"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"k3fs/metastore"
)

// What an object that nobody gave a Content-Type to is said to be, if it was written through the mount (S3
// itself knows none for its own PUTs): what its name says, or else its first bytes. It is decided anew
// whenever it is asked for, so it follows a rename, and it is the same on every host.

// sniffed is how many bytes are looked at.
const sniffed = 3072

// byExtension is a table of our own, as hosts' differ.
var byExtension = map[string]string{
	"7z": "application/x-7z-compressed", "aac": "audio/aac", "arrow": "application/vnd.apache.arrow.file",
	"avif": "image/avif", "avro": "application/avro", "bin": "application/octet-stream", "bmp": "image/bmp",
	"bz2": "application/x-bzip2", "c": "text/x-c", "cc": "text/x-c", "ckpt": "application/octet-stream", "conf": "text/plain",
	"cpp": "text/x-c", "css": "text/css", "csv": "text/csv", "dat": "application/octet-stream", "doc": "application/msword",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "epub": "application/epub+zip",
	"feather": "application/vnd.apache.arrow.file", "flac": "audio/flac", "gif": "image/gif", "go": "text/x-go",
	"gz": "application/gzip", "h": "text/x-c", "h5": "application/x-hdf5", "hdf5": "application/x-hdf5", "htm": "text/html",
	"html": "text/html", "ico": "image/vnd.microsoft.icon", "ics": "text/calendar", "ini": "text/plain",
	"ipynb": "application/x-ipynb+json", "iso": "application/x-iso9660-image", "jar": "application/java-archive", "java": "text/x-java",
	"jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript", "json": "application/json", "jsonl": "application/x-ndjson",
	"log": "text/plain", "m4a": "audio/mp4", "md": "text/markdown", "mjs": "text/javascript", "mkv": "video/x-matroska",
	"mov": "video/quicktime", "mp3": "audio/mpeg", "mp4": "video/mp4", "mpeg": "video/mpeg", "nc": "application/netcdf",
	"ndjson": "application/x-ndjson", "npy": "application/octet-stream", "npz": "application/zip", "oga": "audio/ogg", "ogg": "audio/ogg",
	"onnx": "application/octet-stream", "orc": "application/vnd.apache.orc", "otf": "font/otf", "parquet": "application/vnd.apache.parquet",
	"pb": "application/octet-stream", "pdf": "application/pdf", "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", "pt": "application/octet-stream",
	"pth": "application/octet-stream", "py": "text/x-python", "rar": "application/vnd.rar", "rs": "text/x-rust", "rtf": "application/rtf",
	"safetensors": "application/octet-stream", "sh": "application/x-sh", "so": "application/octet-stream", "sql": "application/sql",
	"sqlite": "application/vnd.sqlite3", "svg": "image/svg+xml", "tar": "application/x-tar", "tgz": "application/gzip", "tif": "image/tiff",
	"tiff": "image/tiff", "toml": "application/toml", "ts": "text/plain", "tsv": "text/tab-separated-values", "ttf": "font/ttf",
	"txt": "text/plain", "wasm": "application/wasm", "wav": "audio/wav", "weba": "audio/webm", "webm": "video/webm", "webp": "image/webp",
	"woff": "font/woff", "woff2": "font/woff2", "xls": "application/vnd.ms-excel",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xml": "application/xml", "xz": "application/x-xz",
	"yaml": "application/yaml", "yml": "application/yaml", "zip": "application/zip", "zst": "application/zstd",
}

// DefaultType is what S3 says of an object without a type.
const DefaultType = "binary/octet-stream"

// ofMount reports whether the content was written through the mount: its ETag tells (newETag).
func (c *contentRec) ofMount() bool { return c.Parts == 0 && strings.HasSuffix(c.ETag, "-1") }

// derivedType is the type of an object, called name, that nobody gave one to; "" is the default. What can't be
// read now has that: who then reads the object is told why.
func (fs *FS) derivedType(ctx context.Context, name string, ino Ino, etag string, parts int) string {
	if c := (contentRec{ETag: etag, Parts: uint32(parts)}); !c.ofMount() {
		return ""
	}
	if t := byExtension[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]; t != "" {
		return t
	}
	head, err := fs.head(ctx, ino)
	if err != nil || len(head) == 0 {
		return ""
	}
	return mimetype.Detect(head).String()
}

// head reads the first bytes of an inode's published content.
func (fs *FS) head(ctx context.Context, ino Ino) ([]byte, error) {
	rd := &objectReader{fs: fs}
	err := fs.view(ctx, func(r metastore.Reader) error {
		n, err := getInode(r, ino)
		if err != nil {
			return err
		}
		if n.Published == nil {
			return of(NotFound)
		}
		rd.d = n.domain()
		if rd.l, err = fs.loadContent(r, n.Published); err == nil && len(rd.l.Slices) > 0 {
			rd.content = contentID(n.Published.ID)
			fs.pin(rd.content)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	p := make([]byte, sniffed)
	n, err := rd.ReadAt(ctx, p, 0)
	return p[:n], err
}
