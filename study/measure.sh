#!/bin/sh
# Measures every checkpoint in `checkpoints/` into `results/reference/`, with plain RoPE and with RoPE's base raised by
# 50, and writes results/README.md. A finished cell is not measured again.
#
# Run it from the root of the checkout, with `texts/emma.txt` and `texts/prideprejudice.txt`, which no training read.
# A training whose weights were not kept (checkpoints/records) has nothing to measure; study/train.sh trains it again.
set -e
measure() {
  ssmax-eval run "${checkpoint%/}" "$@" --text texts/emma.txt --text texts/prideprejudice.txt -o results/reference
}

for checkpoint in checkpoints/*/; do
  [ -f "$checkpoint/model.safetensors" ] || continue
  case $checkpoint in
    *-text-seed* | *-512-seed* | */per-n-*) continue ;;  # their training is all that is asked of them
  esac
  # Documents of the training length, for the claims about that length.
  measure --task loss_reference --lengths 128 --documents 100
  case $checkpoint in
    */softmax-seed* | */lssar-*)  # Documents of 16 times that, for the claims of arXiv 2501.13428.
      measure --task loss_reference --lengths 2048 --documents 20 ;;
  esac
  for scale in 1 50; do
    measure --task niah_reference --task key_attention_reference --task loss_reference --rope-theta-scale $scale
  done
done
python -m study results/reference --checkpoints checkpoints -o results
