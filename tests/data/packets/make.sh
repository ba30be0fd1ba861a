#!/bin/bash
# Makes the files of this folder: small ones of every kind, with the packet lengths that the encoder wrote (PLT).
# Debian's libopenjp2-tools 2.5.0 made them. -TP is kept to LRCP: with position progressions, or resolutions without samples,
# that encoder writes tile-parts whose packets are fewer, more or others than the tile has.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
python3 - "$scratch" <<'PYTHON'
import sys
open(sys.argv[1] + "/smooth.raw", "wb").write(bytes(k * 7 // 5 % 256 for k in range(3000)))
# Every bit-plane of it has something: that makes more than ten coding passes.
open(sys.argv[1] + "/rough.raw", "wb").write(bytes((k * k * 37 + k // 20 * 101) % 251 for k in range(3000)))
PYTHON

make() {
    local name=$1 image=$2
    shift 2
    opj_compress -i "$scratch/$image.raw" -o "$name.j2k" -PLT -F "$@" > "$scratch/log" || { cat "$scratch/log"; exit 1; }
}

one=,1,8,u
three=,3,8,u@1x1:2x2:2x1
make lrcp_parts      smooth 37,29$one   -p LRCP -n 3 -b 8,8 -r 20,8,3 -SOP -TP R
make lrcp_layers     smooth 37,29$one   -p LRCP -n 2 -b 4,4 -r 60,40,20,10,5,2 -TP L
make lrcp_raw_ends   rough  48,40$one -p LRCP -n 3 -b 16,16 -M 5 -I -r 8,3
make rlcp_raw        rough  20,18$one   -p RLCP -n 2 -b 16,16 -M 1 -EPH
make rlcp_styles     rough  48,40$one -p RLCP -n 3 -c '[8,8]' -b 64,64 -M 63 -r 5,4
make rlcp_one_sample rough  1,1$one     -p RLCP -n 6 -d 45,46 -r 2,1
make rpcl_offsets    smooth 37,29$one   -p RPCL -n 4 -c '[16,8],[8,8]' -b 4,4 -r 12,4 -d 13,7 -T 5,2 -t 30,25 -SOP -EPH
make pcrl_sampling   smooth 40,22$three -p PCRL -n 3 -c '[16,16],[16,8]' -b 8,8 -r 10,3 -mct 0
make cprl_ends       smooth 40,22$three -p CPRL -n 2 -b 8,8 -r 9,3 -M 4 -mct 0
