package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// FileState is a State in one file. It is replaced whole, by a synced temporary
// file and a rename, so that a crash leaves either the old or the new one. Two
// processes must not share it.
type FileState struct{ path string }

// NewFileState returns the state in a file, which is made, with its folder
// (0700), at the first Save.
func NewFileState(path string) *FileState { return &FileState{path: path} }

type stateFile struct {
	UserID     string   `json:"user_id"`
	Known      bool     `json:"known"`
	LastSeq    int64    `json:"last_seq,string"`
	InboxEpoch string   `json:"inbox_epoch"`
	Sends      [][]byte `json:"sends,omitempty"` // encoded im.v1.Send
}

// Load reads the file; one that is not there is the zero Snapshot.
func (f *FileState) Load(context.Context) (Snapshot, error) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Snapshot{}, nil
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("read state: %w", err)
	}
	var file stateFile
	if err := json.Unmarshal(data, &file); err != nil {
		return Snapshot{}, fmt.Errorf("decode state %s: %w", f.path, err)
	}
	snapshot := Snapshot{UserID: file.UserID, Known: file.Known, LastSeq: file.LastSeq, InboxEpoch: file.InboxEpoch}
	for _, data := range file.Sends {
		send := &imv1.Send{}
		if err := send.UnmarshalVT(data); err != nil {
			return Snapshot{}, fmt.Errorf("decode a send of state %s: %w", f.path, err)
		}
		snapshot.Sends = append(snapshot.Sends, send)
	}
	return snapshot, nil
}

// Save replaces the file.
func (f *FileState) Save(_ context.Context, snapshot Snapshot) error {
	file := stateFile{
		UserID: snapshot.UserID, Known: snapshot.Known, LastSeq: snapshot.LastSeq, InboxEpoch: snapshot.InboxEpoch,
	}
	for _, send := range snapshot.Sends {
		data, err := send.MarshalVT()
		if err != nil {
			return fmt.Errorf("encode a send: %w", err)
		}
		file.Sends = append(file.Sends, data)
	}
	data, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	return f.replace(data)
}

func (f *FileState) replace(data []byte) error {
	folder := filepath.Dir(f.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the state's folder: %w", err)
	}
	name := fmt.Sprintf("%s.%d.tmp", f.path, os.Getpid()) // another process can spoil what is kept, not tear it
	temporary, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(name, f.path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return syncFolder(folder)
}

// syncFolder makes a rename survive a power cut.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" { // which cannot sync a folder
		return nil
	}
	handle, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("open the state's folder: %w", err)
	}
	if err := errors.Join(handle.Sync(), handle.Close()); err != nil {
		return fmt.Errorf("sync the state's folder: %w", err)
	}
	return nil
}
