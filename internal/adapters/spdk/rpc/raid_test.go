package rpc

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// The fork repeats the key "uuid"; the name of an empty slot is null.
func TestRAIDWithAnEmptySlot(t *testing.T) {
	call := GetRAIDs()
	require.NoError(t, json.Unmarshal([]byte(`[{
		"name": "vol", "uuid": "6c1e3c5a-1111-4222-8333-444455556666", "uuid": "6c1e3c5a-1111-4222-8333-444455556666",
		"strip_size_kb": 0, "state": "online", "raid_level": "raid1", "superblock": false, "num_base_bdevs": 2,
		"num_base_bdevs_discovered": 1, "num_base_bdevs_operational": 1, "delta_bitmap_enabled": false,
		"process": {"type": "rebuild", "target": "b", "progress": {"blocks": 0, "percent": 0}},
		"base_bdevs_list": [
			{"name": null, "uuid": "00000000-0000-0000-0000-000000000000", "is_configured": false, "data_offset": 0, "data_size": 2048},
			{"name": "b", "uuid": "u", "is_configured": true, "data_offset": 0, "data_size": 2048}]}]`), call.into))
	raid := call.Result[0]
	require.Equal(t, "6c1e3c5a-1111-4222-8333-444455556666", raid.UUID)
	require.False(t, raid.Bases[0].Serves())
	require.True(t, raid.Base("u").Serves())
	require.Nil(t, raid.Base("v"))
	require.Equal(t, "rebuild", raid.Process.Type)
}

func TestParametersOfOnlineRebuilds(t *testing.T) {
	for want, call := range map[string]*Call{
		`{"name":"vol","raid_level":"raid1","base_bdevs":["a","b"],"uuid":"u","superblock":false}`: CreateRAID1("vol", "u", "a", "b"),
		`{"raid_name":"vol","base_name":"c"}`:                                                      GrowRAID("vol", "c"),
		`{"lvol_name":"x","parent_name":"n1"}`:                                                     SetParentBdev("x", "n1"),
		`{"name":"null","num_blocks":8,"block_size":512}`:                                          CreateNull("null", 8, 512),
	} {
		got, err := json.Marshal(call.params)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
	attach := AttachController(Attachment{Name: "c", Failover: true})
	got, err := json.Marshal(attach.params)
	require.NoError(t, err)
	require.Contains(t, string(got), `"multipath":"failover"`)
}
