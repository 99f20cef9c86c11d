package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// Options of an installer: where the node keeps what, under the paths that the node knows.
type Options struct {
	// Plugin is the type that the plugin has on the node: Name, or that and a revision.
	Plugin string
	// ConfDir and BinDir are the folders of CNI's configurations and of its plugins.
	ConfDir, BinDir string
	// Program is the file that becomes the plugin.
	Program string
	// ExcludeNamespaces are those whose pods are left alone.
	ExcludeNamespaces []string
	// Namespace, DaemonSet and ServiceAccount are those of the installer's own pod, Node is where it runs.
	Namespace, DaemonSet, ServiceAccount, Node string
	// Repair has pods deleted that started before the plugin was there.
	Repair bool
	Log    *slog.Logger // not nil
}

// How often is looked, besides when a file changes, and at least how long not; and how long an answer that decides on the end may take.
const (
	looks    = 10 * time.Second
	pause    = 100 * time.Millisecond
	repairs  = 30 * time.Second
	farewell = 10 * time.Second
)

// installer is the process of a node.
type installer struct {
	Options
	api    *api
	folder folder
	copied bool      // the plugin's file is this program
	renew  time.Time // when the token wants renewal
}

func (o Options) kubeconfig() string { return filepath.Join(o.ConfDir, o.Plugin+"-kubeconfig") }
func (o Options) binary() string     { return filepath.Join(o.BinDir, o.Plugin) }
func (o Options) folder() folder     { return folder{o.ConfDir, o.Plugin, o.Log} }

// Install brings the plugin onto the node and keeps it there until ctx ends. Then it takes it away, if its DaemonSet has been; else
// it leaves everything in place for its successor, so that pods start meanwhile.
func Install(ctx context.Context, o Options) error {
	server, err := inCluster()
	if err != nil {
		return err
	}
	return o.with(server).run(ctx)
}

func (o Options) with(server *api) *installer {
	return &installer{Options: o, api: server, folder: o.folder()}
}

func (i *installer) run(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch CNI configurations: %w", err)
	}
	defer w.Close()
	for _, dir := range []string{i.ConfDir, i.BinDir} {
		if err := w.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	i.follow(ctx, w)
	return i.leave()
}

// follow keeps the node in order until ctx ends.
func (i *installer) follow(ctx context.Context, w *fsnotify.Watcher) {
	look, mend := time.NewTicker(looks), time.NewTicker(repairs)
	defer look.Stop()
	defer mend.Stop()
	var told string
	for ctx.Err() == nil {
		why := ""
		if err := i.settle(ctx); err != nil {
			why = err.Error()
		}
		if why != "" && why != told {
			i.Log.Error("the plugin is not in place", "error", why)
		}
		told = why
		if why != "" {
			wait(ctx, 10*pause)
		} else {
			wait(ctx, pause)
		}
		select {
		case <-ctx.Done():
		case <-w.Events:
		case err := <-w.Errors:
			i.Log.Warn("watch the node's files", "error", err)
		case <-look.C:
		case <-mend.C:
			if err := i.repair(ctx); err != nil {
				i.Log.Warn("pods without interception are not mended", "error", err)
			}
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// settle puts in place what is missing, the configuration last.
func (i *installer) settle(ctx context.Context) error {
	if err := i.program(); err != nil {
		return err
	}
	if err := i.credentials(ctx); err != nil {
		return err
	}
	entry, err := newEntry(i.Plugin, settings{Kubeconfig: i.kubeconfig(), ExcludeNamespaces: i.ExcludeNamespaces})
	if err != nil {
		return err
	}
	name, changed, err := i.folder.put(entry)
	if err == nil && name == "" {
		err = fmt.Errorf("there is no CNI configuration in %s yet", i.ConfDir)
	}
	if changed {
		i.Log.Info("the plugin is in place", "configuration", name)
	}
	return err
}

// program copies the plugin, unless it is there.
func (i *installer) program() error {
	from, err := os.Open(i.Program)
	if err != nil {
		return fmt.Errorf("copy plugin: %w", err)
	}
	defer from.Close()
	mine, err := from.Stat()
	if err != nil {
		return fmt.Errorf("copy plugin: %w", err)
	}
	there, err := os.Stat(i.binary())
	if err == nil && there.Size() == mine.Size() && i.copied {
		return nil
	}
	err = wholefile.Write(i.binary(), 0o755, from)
	i.copied = err == nil
	return err
}

// credentials writes the kubeconfig of the plugin when it has none, or an old one. Its token is not bound to the installer's pod, so
// that it is good while there is none.
func (i *installer) credentials(ctx context.Context) error {
	_, err := os.Stat(i.kubeconfig())
	there := err == nil
	if there && time.Now().Before(i.renew) {
		return nil
	}
	token, until, err := i.api.tokenOf(ctx, i.Namespace, i.ServiceAccount)
	if err != nil {
		if there { // the old one may still be good
			i.Log.Warn("the plugin's token is not renewed", "error", err)
			i.renew = time.Now().Add(time.Minute)
			return nil
		}
		return err
	}
	raw, err := Kubeconfig(i.api.server, i.api.ca, token)
	if err == nil {
		err = wholefile.Secret(i.kubeconfig(), raw)
	}
	if err == nil {
		i.renew = time.Now().Add(time.Until(until) / 2)
	}
	return err
}

// leave ends the installer.
func (i *installer) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	gone, err := i.api.gone(ctx, i.Namespace, i.DaemonSet)
	if err != nil {
		i.Log.Warn("whether this is the end is not known: the plugin stays", "error", err)
		return nil
	}
	if !gone {
		i.Log.Info("the plugin stays for the installer's successor")
		return nil
	}
	if err := Remove(i.Options); err != nil {
		return err
	}
	i.Log.Info("the plugin is taken away")
	return nil
}

// Remove takes away from a node what Install brought. The configuration is first, so that no runtime looks for a plugin that is gone.
func Remove(o Options) error {
	if err := o.folder().remove(""); err != nil {
		return err
	}
	for _, file := range []string{o.binary(), o.kubeconfig()} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take the plugin away: %w", err)
		}
	}
	return nil
}

// Ready tells whether the plugin is in place, and says where.
func Ready(o Options) (string, error) {
	name, yes, err := o.folder().has()
	switch {
	case err != nil:
		return "", err
	case name == "":
		return "", fmt.Errorf("there is no CNI configuration in %s", o.ConfDir)
	case !yes:
		return "", fmt.Errorf("%s has no plugin %s", filepath.Join(o.ConfDir, name), o.Plugin)
	}
	for _, file := range []string{o.binary(), o.kubeconfig()} {
		if _, err := os.Stat(file); err != nil {
			return "", fmt.Errorf("look for the plugin: %w", err)
		}
	}
	return filepath.Join(o.ConfDir, name), nil
}
