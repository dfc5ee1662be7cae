// Tlogcheck verifies an exported log with Go's own transparency log code, which this project did not write:
// the checkpoint's signature, every tile against the root, every entry against its leaf, an inclusion proof of each
// entry, and consistency with smaller trees. It prints "ok SIZE", or says what is wrong and exits with 1.
//
// Usage: tlogcheck DIRECTORY VKEY
//
// It builds without network: GO111MODULE=off GOPATH=/usr/share/gocode go build (Debian: golang-golang-x-mod-dev).
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// height is the height of tiles in tlog-tiles.
const height = 8

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tlogcheck DIRECTORY VKEY")
		os.Exit(2)
	}
	size, err := check(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok", size)
}

func check(directory, vkey string) (int64, error) {
	tree, err := checkpoint(directory, vkey)
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	if tree.N == 0 {
		return 0, nil
	}
	// The reader that TileHashReader makes believes no tile that does not lead to the root.
	hashes := tlog.TileHashReader(tree, tiles(directory))
	for n := int64(0); n < tree.N; {
		bundle, err := entries(directory, n, tree.N)
		if err != nil {
			return 0, err
		}
		for _, entry := range bundle {
			proof, err := tlog.ProveRecord(tree.N, n, hashes)
			if err != nil {
				return 0, fmt.Errorf("entry %d: %w", n, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, tlog.RecordHash(entry)); err != nil {
				return 0, fmt.Errorf("entry %d: %w", n, err)
			}
			n++
		}
	}
	for n := int64(1); n <= tree.N; n += 1 + tree.N/50 {
		root, err := tlog.TreeHash(n, hashes)
		if err != nil {
			return 0, fmt.Errorf("root at %d: %w", n, err)
		}
		proof, err := tlog.ProveTree(tree.N, n, hashes)
		if err != nil {
			return 0, fmt.Errorf("tree at %d: %w", n, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, n, root); err != nil {
			return 0, fmt.Errorf("tree at %d: %w", n, err)
		}
	}
	return tree.N, nil
}

// checkpoint reads and verifies the signed head of the log.
func checkpoint(directory, vkey string) (tlog.Tree, error) {
	bytes, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), signed.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// entries reads the bundle that begins with entry n.
func entries(directory string, n, size int64) ([][]byte, error) {
	// Go calls them data tiles, of level -1; only the path differs.
	tile := tlog.Tile{H: height, L: -1, N: n >> height, W: 1 << height}
	if rest := size - n; rest < int64(tile.W) {
		tile.W = int(rest)
	}
	path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
	bundle, err := os.ReadFile(filepath.Join(directory, path))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(bundle) >= 2 {
		length := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+length {
			break
		}
		entries = append(entries, bundle[2:2+length])
		bundle = bundle[2+length:]
	}
	if len(bundle) != 0 || len(entries) != tile.W {
		return nil, fmt.Errorf("%s: not %d entries", path, tile.W)
	}
	return entries, nil
}

// tiles reads hash tiles from a directory.
type tiles string

func (tiles) Height() int { return height }

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (directory tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(string(directory), path))
		if err != nil {
			return nil, err
		}
		found = append(found, bytes)
	}
	return found, nil
}
