package http

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// pagePolicy lets a page use what this server serves, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// servePages registers the pages, what they load from /assets/, and the OpenAPI
// document.
func servePages(mux *http.ServeMux, files fs.FS, document []byte) error {
	pages := map[string]string{"/{$}": "pages/status.html", "/docs": "pages/docs.html"}
	assets, err := fs.ReadDir(files, "assets")
	if err != nil {
		return fmt.Errorf("list assets: %w", err)
	}
	for _, asset := range assets {
		pages["/assets/"+asset.Name()] = "assets/" + asset.Name()
	}
	for at, name := range pages {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read page: %w", err)
		}
		contentType, ok := contentTypes()[path.Ext(name)]
		if !ok {
			return fmt.Errorf("page %s: its content type is not known", name)
		}
		mux.Handle("GET "+at, static(content, contentType))
	}
	mux.Handle("GET /openapi.json", static(document, "application/json"))
	return nil
}

// contentTypes does not ask the machine, whose answers differ.
func contentTypes() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".svg":  "image/svg+xml",
	}
}

// static serves bytes that never change while the server runs. Browsers ask each
// time whether they still have the same.
func static(content []byte, contentType string) http.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
