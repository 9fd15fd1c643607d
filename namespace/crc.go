package namespace

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
)

const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// crc is a reflected CRC whose register starts and ends inverted: what zlib's crc32_combine works on.
type crc struct {
	bits int
	poly uint64
}

// The CRCs of S3's "Checking object integrity".
var crcs = map[string]crc{
	"CRC32":     {32, 0xedb88320},
	"CRC32C":    {32, 0x82f63b78},
	"CRC64NVME": {64, 0x9a6c9329ac4bc9b5},
}

// mul multiplies polynomials modulo the CRC's; the highest bit is x^0.
func (c crc) mul(a, b uint64) (p uint64) {
	for m := uint64(1) << (c.bits - 1); m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ c.poly
		} else {
			b >>= 1
		}
	}
	return p
}

// combine is the CRC of two strings from theirs: a's is moved past the length of b, in bytes.
func (c crc) combine(a, b uint64, length int64) uint64 {
	one := uint64(1) << (c.bits - 1)
	for sq, n := one>>1, uint64(length)*8; n > 0; n >>= 1 {
		if n&1 != 0 {
			a = c.mul(sq, a)
		}
		sq = c.mul(sq, sq)
	}
	return a ^ b
}

func (c crc) decode(value string) (uint64, bool) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(b) != c.bits/8 {
		return 0, false
	}
	var wide [8]byte
	copy(wide[8-len(b):], b)
	return binary.BigEndian.Uint64(wide[:]), true
}

func (c crc) encode(v uint64) string {
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], v)
	return base64.StdEncoding.EncodeToString(wide[8-c.bits/8:])
}

// sumOfParts is the checksum of an object made of parts, nil if it can't be told from theirs.
func sumOfParts(algorithm, typ string, parts []contentRec) *sumRec {
	if algorithm == "" {
		return nil
	}
	for _, p := range parts {
		if p.Sum == nil || p.Sum.Algorithm != algorithm {
			return nil
		}
	}
	if typ == "" {
		if typ = composite; algorithm == "CRC64NVME" {
			typ = fullObject
		}
	}
	value, ok := "", false
	if typ == fullObject {
		value, ok = fullSum(algorithm, parts)
	} else {
		value, ok = compositeSum(algorithm, parts)
	}
	if !ok {
		return nil
	}
	return &sumRec{Algorithm: algorithm, Value: value, Type: typ}
}

func fullSum(algorithm string, parts []contentRec) (string, bool) {
	c, ok := crcs[algorithm]
	if !ok {
		return "", false
	}
	var all uint64
	for _, p := range parts {
		one, ok := c.decode(p.Sum.Value)
		if !ok {
			return "", false
		}
		all = c.combine(all, one, p.Size)
	}
	return c.encode(all), true
}

// compositeSum is the checksum of the parts' checksums, with their number behind it.
func compositeSum(algorithm string, parts []contentRec) (string, bool) {
	var h hash.Hash
	switch algorithm {
	case "CRC32":
		h = crc32.NewIEEE()
	case "CRC32C":
		h = crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "SHA1":
		h = sha1.New()
	case "SHA256":
		h = sha256.New()
	default:
		return "", false
	}
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.Sum.Value)
		if err != nil {
			return "", false
		}
		h.Write(b)
	}
	return fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(h.Sum(nil)), len(parts)), true
}
