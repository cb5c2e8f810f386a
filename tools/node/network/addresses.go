package network

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"text/template"
)

// Where containerd takes the pods' addresses from, as its settings say, and from what it wrote that.
const (
	addressTemplate = "/etc/commonpool/cni.template"
	addressSettings = "/etc/commonpool/cni/10-containerd-net.conflist"
)

// setAddresses has containerd give pods addresses of this node's present block. It writes its settings only where there
// are none, and a Node that was deleted and has registered anew has another block, while its old one is given to others.
func setAddresses(look view) error {
	node, err := look.nodes.Get(look.node)
	if err != nil || node.Spec.PodCIDR == "" {
		return err
	}
	present, err := os.ReadFile(addressSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // containerd is about to write it
	}
	if err != nil {
		return err
	}
	text, err := template.ParseFiles(addressTemplate)
	if err != nil {
		return err
	}
	var wanted bytes.Buffer
	if err := text.Execute(&wanted, node.Spec); err != nil {
		return err
	}
	if bytes.Equal(present, wanted.Bytes()) {
		return nil
	}
	scratch := addressSettings + ".new"
	if err := os.WriteFile(scratch, wanted.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(scratch, addressSettings)
}
