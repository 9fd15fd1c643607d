package namespace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// modelVersion is a version or a delete marker. Of ids only whether they are null counts.
type modelVersion struct {
	content string
	id      int // 0: null
	seq     int
	marker  bool
}

// modelFile is what one or several keys name.
type modelFile struct {
	modelVersion
	keys []string
}

// modelHistory is a bucket as the docs describe it.
type modelHistory struct {
	state versioning
	next  int
	files map[string]*modelFile
	old   map[string][]modelVersion // newest first
}

var versionNames = []string{"a", "b", "c", "d/a", "t.tmp"}

// spare: a temporary name among several.
func (f *modelFile) spare(temp bool) bool { return temp && len(f.keys) > 1 }

func (m *modelHistory) number() int { m.next++; return m.next }

// temporary reports whether the mount's use of a name makes no version.
func temporary(key string) bool { return strings.HasSuffix(key, ".tmp") }

func (m *modelHistory) keeps(f *modelFile, temp bool) bool {
	return m.state != unversioned && (f.id != 0 || m.state == enabled && !temp) && !f.spare(temp)
}

func (m *modelHistory) hang(key string, v modelVersion) {
	null := slices.ContainsFunc(m.old[key], func(o modelVersion) bool { return o.id == 0 })
	taken := slices.ContainsFunc(m.old[key], func(o modelVersion) bool { return o.seq == v.seq })
	if taken || v.id == 0 && null {
		v.seq = m.number()
		if v.id != 0 || null {
			v.id = m.number()
		}
	}
	m.add(key, v)
}

func (m *modelHistory) add(key string, v modelVersion) {
	m.old[key] = append(m.old[key], v)
	slices.SortFunc(m.old[key], func(a, b modelVersion) int { return cmp.Compare(b.seq, a.seq) })
}

func (m *modelHistory) dropNull(key string) {
	m.old[key] = slices.DeleteFunc(m.old[key], func(v modelVersion) bool { return v.id == 0 })
}

// nameNull gives the null version below an id.
func (m *modelHistory) nameNull(key string) {
	for i := range m.old[key] {
		if m.old[key][i].id == 0 {
			m.old[key][i].id = m.number()
		}
	}
}

// renew makes f a new version of a key.
func (m *modelHistory) renew(key string, f *modelFile, temp bool) {
	f.id, f.seq = 0, 0
	if m.state == unversioned {
		return
	}
	if temp {
		m.nameNull(key)
		return
	}
	f.seq = m.number()
	if m.state == suspended {
		m.dropNull(key)
		return
	}
	f.id = m.number()
}

func (m *modelHistory) mark(key string) {
	v := modelVersion{marker: true, seq: m.number()}
	if m.state == suspended {
		m.dropNull(key)
	} else {
		v.id = m.number()
	}
	m.add(key, v)
}

// vacate takes a key from its file.
func (m *modelHistory) vacate(key string, temp bool) {
	f := m.files[key]
	if f == nil {
		return
	}
	if m.keeps(f, temp) {
		m.hang(key, f.modelVersion)
	}
	m.take(key, f)
}

func (m *modelHistory) take(key string, f *modelFile) {
	f.keys = slices.DeleteFunc(f.keys, func(k string) bool { return k == key })
	delete(m.files, key)
}

func (m *modelHistory) put(key, content string, temp bool) {
	m.vacate(key, temp)
	f := &modelFile{modelVersion: modelVersion{content: content}, keys: []string{key}}
	m.renew(key, f, temp)
	m.files[key] = f
}

// write is a session of the mount.
func (m *modelHistory) write(key, content string) {
	f := m.files[key]
	if f == nil {
		m.put(key, content, temporary(key))
		return
	}
	as := f.keys[0]
	for _, k := range f.keys {
		if m.keeps(f, temporary(k)) {
			m.hang(k, f.modelVersion)
		}
		if temporary(as) {
			as = k
		}
	}
	for _, k := range f.keys {
		switch {
		case m.state == enabled && !temporary(as):
		case temporary(k):
			m.nameNull(k)
		default:
			m.dropNull(k)
		}
	}
	f.content = content
	m.renew(as, f, temporary(as))
}

func (m *modelHistory) remove(key string) {
	f := m.files[key]
	marks := m.state != unversioned && (f.id != 0 || !temporary(key)) && !f.spare(temporary(key))
	m.vacate(key, temporary(key))
	if marks {
		m.mark(key)
	}
}

// leave takes f from a key to another, to which it comes.
func (m *modelHistory) leave(f *modelFile, from string, vacant bool) {
	marks := vacant && m.state != unversioned && (f.id != 0 || !temporary(from)) && !f.spare(temporary(from))
	if m.keeps(f, temporary(from)) {
		m.hang(from, f.modelVersion)
	}
	if marks {
		m.mark(from)
	}
}

func (m *modelHistory) come(f *modelFile, to string) {
	if len(f.keys) == 1 {
		m.renew(to, f, temporary(to))
	} else if f.id == 0 && m.state != unversioned {
		m.nameNull(to)
	}
}

func (m *modelHistory) rename(from, to string) {
	f := m.files[from]
	if f == m.files[to] {
		return
	}
	m.vacate(to, temporary(to))
	m.leave(f, from, true)
	m.come(f, to)
	m.take(from, f)
	f.keys, m.files[to] = append(f.keys, to), f
}

func (m *modelHistory) exchange(a, b string) {
	f, g := m.files[a], m.files[b]
	if f == g {
		return
	}
	m.leave(f, a, false)
	m.leave(g, b, false)
	m.come(f, b)
	m.come(g, a)
	m.take(a, f)
	m.take(b, g)
	f.keys, m.files[b] = append(f.keys, b), f
	g.keys, m.files[a] = append(g.keys, a), g
}

func (m *modelHistory) link(from, to string) {
	f := m.files[from]
	if m.state != unversioned && f.seq == 0 && !temporary(to) && !slices.ContainsFunc(f.keys, func(k string) bool { return !temporary(k) }) {
		m.renew(to, f, false)
	} else if f.id == 0 && m.state != unversioned {
		m.nameNull(to)
	}
	f.keys, m.files[to] = append(f.keys, to), f
}

// double is whether what hangs on a key is what is current there, too, since a file came back to it.
func (m *modelHistory) double(key string) func(modelVersion) bool {
	f := m.files[key]
	return func(v modelVersion) bool { return f != nil && v.id != 0 && v.id == f.id }
}

// erase removes the i-th version of a key for good; the current one comes first.
func (m *modelHistory) erase(key string, i int) {
	f := m.files[key]
	if hidden := slices.IndexFunc(m.old[key], m.double(key)); hidden >= 0 && (i == 0 || hidden < i) {
		if i > 0 {
			i++
		} else {
			m.old[key] = slices.Delete(m.old[key], hidden, hidden+1)
		}
	}
	top := i == 0
	if f != nil && i == 0 {
		m.take(key, f)
	} else {
		if f != nil {
			i, top = i-1, false
		}
		top = top && m.old[key][i].marker
		m.old[key] = slices.Delete(m.old[key], i, i+1)
	}
	if top && len(m.old[key]) > 0 && !m.old[key][0].marker {
		m.files[key] = &modelFile{modelVersion: m.old[key][0], keys: []string{key}}
		m.old[key] = m.old[key][1:]
	}
}

// history is what world.history shows.
func (m *modelHistory) history(key string) string {
	all := slices.DeleteFunc(slices.Clone(m.old[key]), m.double(key))
	f := m.files[key]
	if f != nil {
		all = slices.Insert(all, 0, f.modelVersion)
	}
	var words []string
	for i, v := range all {
		s := v.content
		if v.marker {
			s = "DELETED"
		}
		if v.id == 0 {
			s = "[" + s + "]"
		}
		if i == 0 && (f != nil || v.marker) {
			s += "*"
		}
		words = append(words, s)
	}
	return strings.Join(words, " ")
}

// shrinking is a testing.TB whose failures let rapid look for a shorter way to them.
type shrinking struct {
	testing.TB
	rt *rapid.T
}

func (s shrinking) Errorf(format string, args ...any) { s.rt.Errorf(format, args...) }
func (s shrinking) FailNow()                          { s.rt.FailNow() }

func TestVersionsAgainstModel(tt *testing.T) {
	rapid.Check(tt, func(rt *rapid.T) {
		s := &span{TB: tt}
		t := shrinking{tt, rt}
		defer s.end()
		w := newStore(s)
		info, err := w.HeadBucket(bg, "data")
		require.NoError(rt, err)
		w.bucket = info.Ino
		_, err = w.Mkdir(bg, w.bucket, "d", NewNode{Mode: 0o755})
		require.NoError(rt, err)
		m := &modelHistory{files: map[string]*modelFile{}, old: map[string][]modelVersion{}}
		name := func() string { return rapid.SampledFrom(versionNames).Draw(rt, "name") }
		there := func() string {
			var names []string
			for _, k := range versionNames {
				if m.files[k] != nil {
					names = append(names, k)
				}
			}
			if len(names) == 0 {
				rt.Skip("nothing there")
			}
			return rapid.SampledFrom(names).Draw(rt, "there")
		}
		content := func() string { return fmt.Sprint("c", m.number()) }
		rt.Repeat(map[string]func(*rapid.T){
			"versioning": func(*rapid.T) {
				m.state = rapid.SampledFrom([]versioning{enabled, enabled, suspended}).Draw(rt, "state")
				w.versioning(t, "data", map[versioning]string{enabled: VersioningEnabled, suspended: VersioningSuspended}[m.state])
			},
			"put": func(*rapid.T) {
				k, c := name(), content()
				w.putText(t, k, c)
				m.put(k, c, false)
			},
			"write": func(*rapid.T) {
				k, c := name(), content()
				w.write(t, k, c)
				m.write(k, c)
			},
			"delete": func(*rapid.T) {
				k := name()
				w.del(t, k, "")
				m.vacate(k, false)
				if m.state != unversioned {
					m.mark(k)
				}
			},
			"unlink": func(*rapid.T) {
				k := there()
				w.unlink(t, k)
				m.remove(k)
			},
			"rename": func(*rapid.T) {
				from, to := there(), name()
				w.rename(t, from, to, 0)
				m.rename(from, to)
			},
			"rename by S3": func(*rapid.T) {
				from, to := there(), name()
				if m.files[from] == m.files[to] || temporary(from) || temporary(to) {
					return
				}
				require.NoError(rt, w.RenameObject(bg, "data", from, to, Conditions{}, Conditions{}))
				m.rename(from, to)
			},
			"exchange": func(*rapid.T) {
				from, to := there(), there()
				w.rename(t, from, to, RenameExchange)
				m.exchange(from, to)
			},
			"link": func(*rapid.T) {
				from, to := there(), name()
				if m.files[to] != nil {
					return
				}
				a, n := w.at(t, from)
				attr, err := w.Lookup(bg, a, n)
				require.NoError(rt, err)
				dir, stored := w.at(t, to)
				_, err = w.Link(bg, attr.Ino, dir, stored)
				require.NoError(rt, err)
				m.link(from, to)
			},
			"erase": func(*rapid.T) {
				k := name()
				var mine []VersionInfo
				for _, v := range w.versions(t, k, 1000) {
					if v.Key == k {
						mine = append(mine, v)
					}
				}
				if len(mine) == 0 {
					return
				}
				i := rapid.IntRange(0, len(mine)-1).Draw(rt, "version")
				w.del(t, k, mine[i].Version)
				m.erase(k, i)
			},
			"": func(rt *rapid.T) {
				for _, k := range versionNames {
					require.Equal(rt, m.history(k), w.history(t, k), k)
					if f := m.files[k]; f != nil {
						require.Equal(rt, f.content, string(w.get(t, k)))
					}
				}
			},
		})
	})
}
