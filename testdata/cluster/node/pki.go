package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// pki is the cluster's certificate authority, made anew for each node and gone with it.
type pki struct {
	paths
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// identities are the clients of the API server: file name, common name, organisation (user and
// group of RBAC).
var identities = [][3]string{
	{"admin", "admin", "system:masters"},
	{"to-kubelet", "apiserver-to-kubelet", "system:masters"},
	{"kubelet", "system:node:" + Name, "system:nodes"},
	{"controller-manager", "system:kube-controller-manager", ""},
	{"scheduler", "system:kube-scheduler", ""},
	{"proxy", "system:kube-proxy", ""},
}

// writePKI makes the keys, certificates and kubeconfigs of a fresh node.
func writePKI(p paths) error {
	ca := &pki{paths: p}
	var err error
	if ca.key, err = ca.newKey("ca"); err != nil {
		return err
	}
	self := template("ca", "")
	self.IsCA, self.BasicConstraintsValid, self.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	ca.cert = self
	if err := ca.sign("ca", self, &ca.key.PublicKey); err != nil {
		return err
	}
	server := template("kube-apiserver", "")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"kubernetes", "kubernetes.default.svc"}
	for _, ip := range []string{"127.0.0.1", nodeIP4, apiIP} {
		server.IPAddresses = append(server.IPAddresses, net.ParseIP(ip))
	}
	if err := ca.issue("apiserver", server); err != nil {
		return err
	}
	for _, id := range identities {
		client := template(id[1], id[2])
		client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if err := ca.issue(id[0], client); err != nil {
			return err
		}
		if err := writeKubeconfig(p, id[0]); err != nil {
			return err
		}
	}
	return ca.serviceAccountKey()
}

func template(commonName, organisation string) *x509.Certificate {
	subject := pkix.Name{CommonName: commonName}
	if organisation != "" {
		subject.Organization = []string{organisation}
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature}
}

func (ca *pki) issue(name string, t *x509.Certificate) error {
	key, err := ca.newKey(name)
	if err != nil {
		return err
	}
	return ca.sign(name, t, &key.PublicKey)
}

func (ca *pki) sign(name string, t *x509.Certificate, public *ecdsa.PublicKey) error {
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, public, ca.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	return writePEM(ca.run("pki", name+".crt"), "CERTIFICATE", der)
}

func (ca *pki) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(ca.run("pki", name+".key"), "EC PRIVATE KEY", der)
}

// serviceAccountKey makes the pair that the API server signs and checks service account tokens with.
func (ca *pki) serviceAccountKey() error {
	key, err := ca.newKey("sa")
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return writePEM(ca.run("pki", "sa.pub"), "PUBLIC KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeKubeconfig writes a kubeconfig for the named identity. Its server is only there in the
// node's network.
func writeKubeconfig(p paths, name string) error {
	return os.WriteFile(p.run("pki", name+".kubeconfig"), fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: %[1]s/ca.crt}}]
users: [{name: u, user: {client-certificate: %[1]s/%[2]s.crt, client-key: %[1]s/%[2]s.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, p.run("pki"), name), 0o600)
}
