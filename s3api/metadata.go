package s3api

import (
	"mime"
	"strings"
	"unicode/utf8"
)

// storedMeta is the value of a user metadata header as it is kept: RFC 2047's encoded words become what they
// stand for, and bytes that are no UTF-8 are taken for Latin 1, which is what HTTP once meant.
func storedMeta(v string) string {
	if strings.Contains(v, "=?") {
		if plain, err := new(mime.WordDecoder).DecodeHeader(v); err == nil && !ascii(plain) && printableText(plain) {
			return plain
		}
	}
	if utf8.ValidString(v) {
		return v
	}
	runes := make([]rune, len(v))
	for i := range len(v) {
		runes[i] = rune(v[i])
	}
	return string(runes)
}

// sentMeta is a kept value as it goes out: ASCII as it is, all else in encoded words (RFC 2047), as S3 does.
func sentMeta(v string) string {
	if ascii(v) {
		return v
	}
	return mime.BEncoding.Encode("UTF-8", v)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// printableText reports whether a decoded value can't break a header.
func printableText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
