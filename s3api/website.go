package s3api

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// websiteDoc is a bucket's website configuration.
type websiteDoc struct {
	XMLName  xml.Name       `xml:"WebsiteConfiguration"`
	NS       string         `xml:"xmlns,attr,omitempty"`
	Redirect *allRedirect   `xml:"RedirectAllRequestsTo"`
	Index    *indexDocument `xml:"IndexDocument"`
	Error    *errorDocument `xml:"ErrorDocument"`
	Rules    []routingRule  `xml:"RoutingRules>RoutingRule,omitempty"`
}

type allRedirect struct {
	HostName string
	Protocol string `xml:",omitempty"`
}

type indexDocument struct{ Suffix string }

type errorDocument struct{ Key string }

type routingRule struct {
	Condition *struct {
		KeyPrefixEquals             string `xml:",omitempty"`
		HTTPErrorCodeReturnedEquals int    `xml:"HttpErrorCodeReturnedEquals,omitempty"`
	}
	Redirect struct {
		Protocol             string  `xml:",omitempty"`
		HostName             string  `xml:",omitempty"`
		ReplaceKeyPrefixWith *string `xml:",omitempty"`
		ReplaceKeyWith       *string `xml:",omitempty"`
		HTTPRedirectCode     string  `xml:"HttpRedirectCode,omitempty"`
	}
}

const maxRoutingRules = 50

// checkWebsite is PutBucketWebsite's document.
func checkWebsite(_ *request, raw []byte) (any, error) {
	var doc websiteDoc
	if err := decodeXML(raw, &doc); err != nil {
		return nil, err
	}
	bad := func(what string) error { return s3err.New(s3err.InvalidArgument, "%s", what) }
	protocol := func(p string) bool { return p == "" || p == "http" || p == "https" }
	host := func(h string) bool {
		return !strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r == '/' || r == '\\' || r >= 0x7f })
	}
	switch {
	case doc.Redirect != nil:
		if doc.Index != nil || doc.Error != nil || doc.Rules != nil {
			return nil, bad("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.")
		}
		if doc.Redirect.HostName == "" || !host(doc.Redirect.HostName) || !protocol(doc.Redirect.Protocol) {
			return nil, bad("The redirect location must have a host name, and the protocol http or https.")
		}
	case doc.Index == nil || doc.Index.Suffix == "" || strings.Contains(doc.Index.Suffix, "/"):
		return nil, bad("The IndexDocument Suffix is not well formed")
	case doc.Error != nil && doc.Error.Key == "":
		return nil, bad("The ErrorDocument Key is not well formed")
	case len(doc.Rules) > maxRoutingRules:
		return nil, bad("A website has at most 50 routing rules")
	}
	for _, r := range doc.Rules {
		to := r.Redirect
		code, err := strconv.Atoi(to.HTTPRedirectCode)
		if to.ReplaceKeyPrefixWith != nil && to.ReplaceKeyWith != nil || !protocol(to.Protocol) || !host(to.HostName) ||
			to.HTTPRedirectCode != "" && (err != nil || code < 301 || code > 308 || code == 304) {
			return nil, s3err.New(s3err.InvalidRequest, "A routing rule has an invalid redirect")
		}
	}
	doc.XMLName, doc.NS = xml.Name{Local: "WebsiteConfiguration"}, xmlns
	return &doc, nil
}

// site is a request to a bucket's website: by nobody, and answered with pages.
func (q *request) site() error {
	q.operation = "Website"
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		return s3err.New(codeMethodNotAllowed, "The specified method is not allowed against this resource.")
	}
	q.view = q.viewAs(tenancy.Principal{})
	_, s, err := q.view.BucketFront(q.ctx(), q.bucket, settingWebsite)
	if err != nil {
		return err
	}
	raw, ok := s[settingWebsite]
	if !ok {
		return s3err.New("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
	}
	doc, err := q.s.websites.get(raw)
	if err != nil {
		return err
	}
	if doc.Redirect != nil {
		return q.redirect(doc.Redirect.Protocol, doc.Redirect.HostName, q.key, http.StatusMovedPermanently)
	}
	if r := doc.rule(q.key, 0); r != nil {
		return q.redirectBy(r)
	}
	return q.page(doc)
}

// page answers with the object that a path stands for: the index document for a directory.
func (q *request) page(doc *websiteDoc) error {
	key := q.key
	if key == "" || strings.HasSuffix(key, "/") {
		key += doc.Index.Suffix
	}
	err := q.sendPage(key, http.StatusOK)
	a, _ := translate(err)
	if err == nil || q.w.Written() {
		return err
	}
	if a.status == http.StatusNotFound || a.status == http.StatusForbidden {
		// A path without its last '/' is sent on to the directory's.
		if _, head := q.view.HeadObject(q.ctx(), q.bucket, key+"/"+doc.Index.Suffix, namespace.ReadOptions{}); head == nil && q.key != "" && !strings.HasSuffix(q.key, "/") {
			q.w.Header().Set("Location", (&url.URL{Path: "/" + q.key + "/"}).EscapedPath())
			return q.writeEmpty(http.StatusFound)
		}
	}
	if r := doc.rule(q.key, a.status); r != nil {
		return q.redirectBy(r)
	}
	if doc.Error != nil && a.status >= 400 && a.status < 500 {
		if q.sendPage(doc.Error.Key, a.status) == nil {
			return nil
		}
	}
	return err
}

// sendPage answers with an object and a status.
func (q *request) sendPage(key string, status int) error {
	o, err := q.view.GetObject(q.ctx(), q.bucket, key, namespace.ReadOptions{Conditions: conditions(q.r.Header, "")})
	if err != nil {
		return err
	}
	defer o.Close()
	info := o.Info()
	if to := info.Headers["X-Amz-Website-Redirect-Location"]; to != "" {
		q.w.Header().Set("Location", to)
		return q.writeEmpty(http.StatusMovedPermanently)
	}
	before := maps.Clone(q.w.Header())
	q.describe(info, true)
	q.w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	q.w.WriteHeader(status) // goes with the first bytes
	if q.r.Method != http.MethodHead {
		if err := q.sendBytes(o, 0, info.Size, before); err != nil {
			return err
		}
	}
	q.w.WriteHeaderNow()
	return nil
}

// rule finds the first routing rule for a key, and for an error's status; 0 asks before there is one.
func (d *websiteDoc) rule(key string, status int) *routingRule {
	for i := range d.Rules {
		r := &d.Rules[i]
		prefix, code := "", 0
		if r.Condition != nil {
			prefix, code = r.Condition.KeyPrefixEquals, r.Condition.HTTPErrorCodeReturnedEquals
		}
		if strings.HasPrefix(key, prefix) && code == status {
			return r
		}
	}
	return nil
}

func (q *request) redirectBy(r *routingRule) error {
	key, to := q.key, r.Redirect
	switch {
	case to.ReplaceKeyWith != nil:
		key = *to.ReplaceKeyWith
	case to.ReplaceKeyPrefixWith != nil:
		prefix := ""
		if r.Condition != nil {
			prefix = r.Condition.KeyPrefixEquals
		}
		key = *to.ReplaceKeyPrefixWith + strings.TrimPrefix(key, prefix)
	}
	code, err := strconv.Atoi(to.HTTPRedirectCode)
	if err != nil {
		code = http.StatusMovedPermanently
	}
	return q.redirect(to.Protocol, to.HostName, key, code)
}

func (q *request) redirect(protocol, host, key string, status int) error {
	if protocol == "" {
		protocol = q.scheme()
	}
	if host == "" {
		host = q.r.Host
	}
	q.w.Header().Set("Location", protocol+"://"+host+(&url.URL{Path: "/" + key}).EscapedPath())
	return q.writeEmpty(status)
}
