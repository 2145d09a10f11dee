// Checks a log that is served over HTTP as tiles (c2sp.org/tlog-tiles), with other people's code alone:
// golang.org/x/mod/sumdb, transparency-dev/formats and the fsck package of transparency-dev/tessera.
//
//	tlog-check -url http://host/path/ -vkey 'origin+id+key' [-samples 300]
//
// Prints one JSON document and exits 0 when every check held, 1 with the reason when one did not.
package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8
const tileWidth = 1 << tileHeight

type report struct {
	Origin  string `json:"origin"`
	Size    uint64 `json:"size"`
	Root    string `json:"root"`
	Records int64  `json:"records"`
	Trees   int64  `json:"trees"`
}

func main() {
	address := flag.String("url", "", "where checkpoint and tile/ lie")
	key := flag.String("vkey", "", "the log's verifier key")
	samples := flag.Int64("samples", 300, "how many records and older trees are proved")
	flag.Parse()
	found, err := check(*address, *key, *samples)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}

func check(address, key string, samples int64) (*report, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	if err := derive(address, verifier); err != nil {
		return nil, fmt.Errorf("fsck: %w", err)
	}
	reader := tiles{address: strings.TrimSuffix(address, "/") + "/"}
	raw, err := reader.get("checkpoint")
	if err != nil {
		return nil, err
	}
	head, _, _, err := log.ParseCheckpoint(raw, verifier.Name(), verifier)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	found := &report{Origin: head.Origin, Size: head.Size, Root: base64.StdEncoding.EncodeToString(head.Hash)}
	return found, prove(reader, head, samples, found)
}

// The whole log again from its entries: every tile and the root.
func derive(address string, verifier note.Verifier) error {
	root, err := url.Parse(address)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	return fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: 4}).Check(context.Background())
}

func leafHashes(bundle []byte) ([][]byte, error) {
	records, err := parseEntries(bundle)
	if err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(records))
	for i, record := range records {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(record)
	}
	return hashes, nil
}

func parseEntries(bundle []byte) ([][]byte, error) {
	var records [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("an entry runs past the end of its tile")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		records = append(records, bundle[2:end])
		bundle = bundle[end:]
	}
	return records, nil
}

// Inclusion of records and consistency of older trees, by the checksum database's own code.
func prove(reader tiles, head *log.Checkpoint, samples int64, found *report) error {
	size := int64(head.Size)
	if size == 0 {
		return nil
	}
	tree := tlog.Tree{N: size, Hash: tlog.Hash(head.Hash)}
	hashes := tlog.TileHashReader(tree, reader)
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return fmt.Errorf("tree hash: %w", err)
	}
	if root != tree.Hash {
		return errors.New("the tiles give another root than the checkpoint")
	}
	step := max(1, size/max(1, samples))
	for index := int64(0); index < size; index += step {
		record, err := reader.record(index, size)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(size, index, hashes)
		if err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(record)); err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		found.Records++
		older, err := tlog.TreeHash(index+1, hashes)
		if err != nil {
			return fmt.Errorf("tree of %d: %w", index+1, err)
		}
		consistency, err := tlog.ProveTree(size, index+1, hashes)
		if err != nil {
			return fmt.Errorf("tree of %d: %w", index+1, err)
		}
		if err := tlog.CheckTree(consistency, size, root, index+1, older); err != nil {
			return fmt.Errorf("tree of %d: %w", index+1, err)
		}
		found.Trees++
	}
	return nil
}

type tiles struct{ address string }

func (t tiles) get(path string) ([]byte, error) {
	answer, err := http.Get(t.address + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: HTTP %d", path, answer.StatusCode)
	}
	return body, nil
}

// x/mod writes tile/<height>/<level>/…, tlog-tiles leaves the height out.
func pathOf(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
}

func (t tiles) record(index, size int64) ([]byte, error) {
	number := index / tileWidth
	width := min(tileWidth, size-number*tileWidth)
	path := pathOf(tlog.Tile{H: tileHeight, L: 0, N: number, W: int(width)})
	bundle, err := t.get(strings.Replace(path, "tile/0/", "tile/entries/", 1))
	if err != nil {
		return nil, err
	}
	records, err := parseEntries(bundle)
	if err != nil {
		return nil, err
	}
	if int64(len(records)) <= index%tileWidth {
		return nil, fmt.Errorf("record %d is not in its tile", index)
	}
	return records[index%tileWidth], nil
}

func (t tiles) Height() int { return tileHeight }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(wanted))
	for i, tile := range wanted {
		body, err := t.get(pathOf(tile))
		if err != nil {
			return nil, err
		}
		read[i] = body
	}
	return read, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
