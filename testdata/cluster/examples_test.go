package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	yamldocuments "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"lull/testdata/cluster/node"
)

// examples is where the manifests lie that users copy.
const examples = "../../examples"

// filled puts the scene's names in place of those of the examples, as a reader does: of the images,
// the namespace and the app.
func (s *scene) filled(text []byte) []byte {
	return []byte(strings.NewReplacer(
		"registry.example/web:1", node.AppImage,
		"registry.example/lull:0.1.0", node.LullImage,
		"namespace: web", "namespace: "+s.ns,
		"serviceaccounts:web", "serviceaccounts:"+s.ns,
		"name: web", "name: app", // also the end of lines with web-lull
		"app: web", "app: app",
		"serviceAccountName: web", "serviceAccountName: app",
	).Replace(string(text)))
}

// example reads a file of the examples with the scene's names.
func (s *scene) example(file string) []byte {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(examples, file))
	if err != nil {
		s.Fatal(err)
	}
	return s.filled(text)
}

// kustomized renders the examples' kustomization for the scene's namespace.
func (s *scene) kustomized() []byte {
	s.Helper()
	files := filesys.MakeFsInMemory()
	root := os.DirFS(filepath.Join(examples, "kustomize"))
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if path == "kustomization.yaml" {
			text = bytes.ReplaceAll(text, []byte("namespace: default"), []byte("namespace: "+s.ns))
		}
		return files.WriteFile(filepath.Join("/", path), text)
	})
	if err != nil {
		s.Fatal(err)
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/")
	if err != nil {
		s.Fatal(err)
	}
	text, err := rendered.AsYaml()
	if err != nil {
		s.Fatal(err)
	}
	return s.filled(text)
}

// apply applies the objects of a manifest as `kubectl apply --server-side` does: fields that do not
// exist are refused. Those without a namespace go into the scene's. What does not go with the
// namespace is removed at the test's end.
func (s *scene) apply(manifest []byte) {
	s.Helper()
	groups, err := restmapper.GetAPIGroupResources(s.client.Discovery())
	if err != nil {
		s.Fatal(err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	client, err := dynamic.NewForConfig(s.node.Config)
	if err != nil {
		s.Fatal(err)
	}
	for _, object := range s.objects(manifest) {
		kind := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			s.Fatal(err)
		}
		var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
		if mapping.Scope.Name() == "namespace" {
			if object.GetNamespace() == "" {
				object.SetNamespace(s.ns)
			}
			resource = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
		}
		text, err := object.MarshalJSON()
		if err != nil {
			s.Fatal(err)
		}
		force := true
		_, err = resource.Patch(s.Context(), object.GetName(), types.ApplyPatchType, text,
			metav1.PatchOptions{FieldManager: "reader", Force: &force, FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			s.Fatalf("apply %s %s: %v", kind.Kind, object.GetName(), err)
		}
		if object.GetNamespace() == "" {
			s.Cleanup(func() { s.unapply(resource, object.GetName()) })
		}
	}
}

// unapply deletes what apply made, and waits until it is gone.
func (s *scene) unapply(resource dynamic.ResourceInterface, name string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := resource.Delete(ctx, name, metav1.DeleteOptions{})
	for err == nil {
		time.Sleep(50 * time.Millisecond)
		_, err = resource.Get(ctx, name, metav1.GetOptions{})
	}
	if !apierrors.IsNotFound(err) {
		s.Errorf("delete %s: %v", name, err)
	}
}

// objects decodes the documents of a manifest.
func (s *scene) objects(manifest []byte) (all []*unstructured.Unstructured) {
	s.Helper()
	r := yamldocuments.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		object := &unstructured.Unstructured{}
		if err == nil {
			err = yaml.UnmarshalStrict(document, &object.Object)
		}
		if err != nil {
			s.Fatal(err)
		}
		all = append(all, object)
	}
}

// patchDeployment does what `kubectl patch deployment NAME --patch-file FILE` does.
func (s *scene) patchDeployment(name, file string) {
	s.Helper()
	text, err := yaml.YAMLToJSONStrict(s.example(file))
	if err != nil {
		s.Fatal(err)
	}
	strict := metav1.PatchOptions{FieldValidation: metav1.FieldValidationStrict}
	if _, err := s.client.AppsV1().Deployments(s.ns).Patch(s.Context(), name, types.StrategicMergePatchType, text, strict); err != nil {
		s.Fatal(err)
	}
}
