package cluster

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/node"
)

// TestLullImage: the image as it is published runs by itself, and not as root: the kubelet can see
// that its user is another without being told a number.
func TestLullImage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	nonRoot := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "lull"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{
			Name: "app", Image: node.LullImage, ImagePullPolicy: corev1.PullNever, Args: []string{"--version"},
			SecurityContext: &corev1.SecurityContext{RunAsNonRoot: &nonRoot},
		}},
	}}
	if _, err := s.client.CoreV1().Pods(s.ns).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.until(slow, "the end of lull --version", func() error {
		now, err := s.client.CoreV1().Pods(s.ns).Get(t.Context(), p.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodSucceeded {
			err = fmt.Errorf("phase %s, %+v", now.Status.Phase, now.Status.ContainerStatuses)
		}
		return err
	})
	lines := s.node.PodLog(s.ns, p.Name, "app")
	if len(lines) != 1 || !strings.HasPrefix(lines[0].Text, "lull ") {
		t.Errorf("lull --version printed %v", lines)
	}
}
