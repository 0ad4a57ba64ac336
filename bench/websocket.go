package bench

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/im-transfer/im/proto/wire"
)

// The generator frames WebSocket messages itself (RFC 6455): a client library
// would copy and mask every one of them. Its masking key is zero, which leaves
// the payload as it is.
const (
	opcodeContinuation = 0
	opcodeText         = 1
	opcodeBinary       = 2
	opcodeClose        = 8
	opcodePing         = 9
	opcodePong         = 10
	finalFragment      = 0x80
	masked             = 0x80
)

func webSocketOpcode(form wire.Form) byte {
	if form == wire.Text {
		return opcodeText
	}
	return opcodeBinary
}

// appendWebSocketHeader appends the header of a client's message of n bytes.
func appendWebSocketHeader(dst []byte, opcode byte, n int) []byte {
	dst = append(dst, finalFragment|opcode)
	switch {
	case n < 126:
		dst = append(dst, masked|byte(n))
	case n < 1<<16:
		dst = append(dst, masked|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, masked|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, 0, 0, 0, 0)
}

// webSocketMessage is one frame of a WebSocket stream.
type webSocketMessage struct {
	opcode  byte
	final   bool
	payload []byte
}

// splitWebSocket takes the first frame off a server's stream. With rest nil it is
// not whole yet and needs at least so many bytes in all.
func splitWebSocket(data []byte, limit int) (m webSocketMessage, rest []byte, need int, err error) {
	if len(data) < 2 {
		return m, nil, 2, nil
	}
	m.opcode, m.final = data[0]&15, data[0]&finalFragment != 0
	header, n := 2, int(data[1]&127)
	switch n {
	case 126:
		header = 4
	case 127:
		header = 10
	}
	if len(data) < header {
		return m, nil, header, nil
	}
	switch n {
	case 126:
		n = int(binary.BigEndian.Uint16(data[2:]))
	case 127:
		n = int(min(binary.BigEndian.Uint64(data[2:]), 1<<62))
	}
	if data[1]&masked != 0 || n > limit {
		return m, nil, 0, errors.New("malformed WebSocket frame")
	}
	if len(data) < header+n {
		return m, nil, header + n, nil
	}
	m.payload = data[header : header+n : header+n]
	return m, data[header+n:], 0, nil
}

// upgrade turns a fresh connection into a WebSocket. It returns what the server
// has sent behind its answer.
func upgrade(nc net.Conn, target *url.URL) ([]byte, error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := "GET " + target.RequestURI() + " HTTP/1.1\r\nHost: " + target.Host + "\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
	if _, err := nc.Write([]byte(request)); err != nil {
		return nil, fmt.Errorf("ask for WebSocket: %w", err)
	}
	answer := make([]byte, 0, 4096)
	for len(answer) < cap(answer) {
		n, err := nc.Read(answer[len(answer):cap(answer)])
		if err != nil {
			return nil, fmt.Errorf("read the answer to the upgrade: %w", err)
		}
		answer = answer[:len(answer)+n]
		if end := bytes.Index(answer, []byte("\r\n\r\n")); end >= 0 {
			return answer[end+4:], checkUpgrade(answer[:end], key)
		}
	}
	return nil, errors.New("the answer to the upgrade is too long")
}

func checkUpgrade(answer []byte, key string) error {
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 101")) {
		return fmt.Errorf("the server refused WebSocket: %s", line)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 asks for it
	if !bytes.Contains(answer, []byte(base64.StdEncoding.EncodeToString(sum[:]))) {
		return errors.New("the server's WebSocket answer is not one to this request")
	}
	return nil
}
