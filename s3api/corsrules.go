package s3api

import (
	"encoding/xml"
	"errors"

	"k3fs/s3api/internal/cors"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// CORSRule is a rule of a bucket's CORS configuration, for other ways to set it than S3's.
type CORSRule = cors.Rule

// CORSRules are the rules among a bucket's settings; none if there are none.
func CORSRules(s tenancy.Settings) ([]CORSRule, error) {
	raw, ok := s[settingCORS]
	if !ok {
		return nil, nil
	}
	var c cors.Config
	err := xml.Unmarshal(raw, &c)
	return c.Rules, err
}

// SetCORSRules checks rules as PutBucketCors does, and puts them among a bucket's settings. No rules remove them. Its
// error can be shown to clients.
func SetCORSRules(s tenancy.Settings, rules []CORSRule) error {
	if len(rules) == 0 {
		delete(s, settingCORS)
		return nil
	}
	c := cors.Config{XMLName: xml.Name{Local: "CORSConfiguration"}, NS: xmlns, Rules: rules}
	if err := c.Check(); err != nil {
		var wire *s3err.Error
		if errors.As(err, &wire) && wire.Code == codeMalformedXML {
			return errors.New("a CORS configuration has 1 to 100 rules, each of at least an allowed origin and an allowed method, and at most 100 of each")
		}
		return shownError(err)
	}
	raw, err := xml.Marshal(&c)
	if err == nil {
		s[settingCORS] = raw
	}
	return err
}
