package s3api

import (
	"encoding/xml"
	"net/http"

	"k3fs/s3api/internal/cors"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// checkCORS is PutBucketCors's document.
func checkCORS(_ *request, raw []byte) (any, error) {
	var doc cors.Config
	if err := decodeXML(raw, &doc); err != nil {
		return nil, err
	}
	doc.XMLName, doc.NS = xml.Name{Local: "CORSConfiguration"}, xmlns
	return &doc, doc.Check()
}

// corsRules are the bucket's; nil if there are none.
func (q *request) corsRules() (*cors.Config, error) {
	if q.bucket == "" {
		return nil, nil
	}
	_, s, err := q.s.o.As(tenancy.Principal{}).BucketFront(q.ctx(), q.bucket, settingCORS)
	raw, ok := s[settingCORS]
	if err != nil || !ok {
		return nil, err
	}
	return q.s.cors.get(raw)
}

// answerOrigin lets a page of another origin read the answer, where the bucket's rules say so.
func (q *request) answerOrigin() {
	origin := q.r.Header.Get("Origin")
	if origin == "" || q.r.Method == http.MethodOptions {
		return
	}
	h := q.w.Header()
	h.Add("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	c, err := q.corsRules()
	if err != nil || c == nil {
		return // the request itself says what is wrong
	}
	method := q.r.Method
	if asked := q.r.Header.Get("Access-Control-Request-Method"); asked != "" {
		method = asked
	}
	if r := c.Find(origin, method, nil); r != nil {
		r.Answer(h, origin, nil, false)
	}
}

// preflight is what a browser asks before a page of another origin makes a request (OPTIONS). Nobody is
// authenticated for it, and it tells nothing but what the bucket's rules allow.
func (q *request) preflight() error {
	q.operation = "PreflightCors"
	q.w.Header().Add("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	origin, method := q.r.Header.Get("Origin"), q.r.Header.Get("Access-Control-Request-Method")
	switch {
	case origin == "":
		return s3err.New("BadRequest", "Insufficient information. Origin request header needed.")
	case method == "":
		return s3err.New("BadRequest", "Invalid Access-Control-Request-Method: null")
	}
	c, err := q.corsRules()
	if err != nil {
		return err
	}
	if c == nil {
		return s3err.New(codeAccessForbidden, "CORSResponse: CORS is not enabled for this bucket.")
	}
	headers := cors.SplitHeaders(q.r.Header.Get("Access-Control-Request-Headers"))
	r := c.Find(origin, method, headers)
	if r == nil {
		return s3err.New(codeAccessForbidden, "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, "+
			"request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	}
	r.Answer(q.w.Header(), origin, headers, true)
	return q.writeEmpty(http.StatusOK)
}
