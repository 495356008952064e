package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// op is one kind of request. Failures are kept by op, so that what works does not hide what is
// forbidden.
type op struct{ verb, resource string }

const (
	podResource   = "pods"
	sliceResource = "endpointslices.discovery.k8s.io" // as `kubectl auth can-i` names it
)

func (o op) String() string { return o.verb + " " + o.resource }

// failure is why a request failed, for the user.
type failure struct {
	err     error
	refused bool      // waiting won't help
	since   time.Time // of the first in a row
}

// explain turns what client-go returned into a line for the user. It knows which failures stay, and
// lets no credential through.
func explain(o op, namespace string, err error) failure {
	text, refused := reason(o, namespace, err)
	return failure{err: errors.New(oneLine(text)), refused: refused}
}

func reason(o op, namespace string, err error) (text string, refused bool) {
	// A URL carries the whole query and may carry a password.
	var at *url.Error
	var large *http.MaxBytesError
	if errors.As(err, &at) && !errors.Is(err, context.DeadlineExceeded) {
		err = at.Err
	}
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("no permission to %s in namespace %s: grant it to %s (see README: Rights)", o, namespace, account(err)), true
	case apierrors.IsUnauthorized(err):
		return fmt.Sprintf("cannot %s: the API server does not accept these credentials (401): "+
			"the token has expired, or is of a pod that no longer exists", o), true
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("cannot %s in namespace %s: the API server does not know it: %v", o, namespace, err), true
	case isCertificate(err):
		return fmt.Sprintf("cannot %s: the API server's certificate is not accepted: %v", o, err), true
	case errors.As(err, &large):
		return fmt.Sprintf("cannot %s: the answer is larger than %d bytes", o, large.Limit), false
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("cannot %s: no answer from the API server in time", o), false
	}
	return fmt.Sprintf("cannot %s: %v", o, err), false
}

// isCertificate reports whether TLS failed for a reason that a retry meets again.
func isCertificate(err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		host      x509.HostnameError
		alert     tls.AlertError
		record    tls.RecordHeaderError
	)
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &invalid) ||
		errors.As(err, &host) || errors.As(err, &alert) || errors.As(err, &record)
}

// account finds who was refused in the API server's words, `User
// "system:serviceaccount:NAMESPACE:NAME" cannot list resource ...` (k8s.io/apiserver,
// pkg/endpoints/handlers/responsewriters/errors.go).
func account(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `User "`)
	user, _, ok := strings.Cut(rest, `"`)
	if !ok || user == "" {
		return "the pod's service account"
	}
	if name, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		return "service account " + strings.Replace(name, ":", "/", 1)
	}
	return "user " + user
}

// Nothing that looks like a token, a header with one or the password of a URL gets into a message,
// whoever wrote it.
var (
	tokenLike    = regexp.MustCompile(`eyJ[\w-]+(\.[\w-]*)*`)
	bearerLike   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}`)
	userinfoLike = regexp.MustCompile(`(://)[^/\s"]*@|[\w.-]+:[^/\s"@]+@`)
)

// oneLine makes text fit for a log: one line of bounded length, without control characters and
// without credentials.
func oneLine(text string) string {
	const most = 400
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text[:min(len(text), 4*most)])
	text = strings.Join(strings.Fields(text), " ")
	text = tokenLike.ReplaceAllString(text, "[token]")
	text = bearerLike.ReplaceAllString(text, "$1 [token]")
	text = userinfoLike.ReplaceAllString(text, "$1[credentials]@")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
