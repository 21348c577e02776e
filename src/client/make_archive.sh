#!/bin/sh
# make_archive.sh LD OBJCOPY OUTPUT WORKDIR ARCHIVE... - one archive of one object, whose hidden symbols are local.
set -eu
ld=$1 objcopy=$2 output=$3 work=$4
shift 4
mkdir -p "$work"
"$ld" -r -o "$work/quoll.o" --whole-archive "$@"
"$objcopy" --localize-hidden "$work/quoll.o"
rm -f "$output"
ar crs "$output" "$work/quoll.o"
