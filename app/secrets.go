package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secretBytes is the length of a secret that the first embedded start makes.
const secretBytes = 32

// secret returns the secret kept in a file of the data directory (0600), making it
// at the first start. Only the embedded mode does that: servers on several
// machines must be told the same one.
func secret(dataDir, name string) (string, error) {
	path := filepath.Join(dataDir, name)
	text, err := os.ReadFile(path)
	if err == nil {
		if kept := strings.TrimSpace(string(text)); len(kept) >= secretBytes {
			return kept, nil
		}
		return "", fmt.Errorf("%s holds no secret of at least %d bytes", path, secretBytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	random := make([]byte, secretBytes)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make secret: %w", err)
	}
	made := hex.EncodeToString(random)
	if err := writeSecret(path, made); err != nil {
		return "", fmt.Errorf("write secret: %w", err)
	}
	return made, nil
}

// writeSecret writes a file whole or not at all: a half-written key must never be
// taken for one.
func writeSecret(path, text string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // 0600
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory survive a crash of the machine.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
