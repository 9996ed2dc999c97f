#!/bin/sh
# Measures every checkpoint in `checkpoints/` into `results/reference/`, as trained and with RoPE's base raised by 50,
# and writes results/README.md. Run it from a folder with `texts/emma.txt` and `texts/prideprejudice.txt`, which no
# training saw. A finished cell is not measured again.
set -e
measure() {
  ssmax-eval run "${checkpoint%/}" "$@" --text texts/emma.txt --text texts/prideprejudice.txt -o results/reference
}

for checkpoint in checkpoints/*/; do
  case $checkpoint in
    *-text-seed* | *-512-seed* | */per-n-*) continue ;;  # their training is all that is asked of them
  esac
  [ -f "$checkpoint/model.safetensors" ] || continue  # a record only: recipes/family.sh trains it
  # The documents of the training length, for the claims about that length.
  measure --task loss_reference --lengths 128 --documents 100
  case $checkpoint in
    */softmax-seed* | */lssar-*)  # and of 16 times that, for those of arXiv 2501.13428
      measure --task loss_reference --lengths 2048 --documents 20 ;;
  esac
  for scale in 1 50; do
    measure --task niah_reference --task key_attention_reference --task loss_reference --rope-theta-scale $scale
  done
done
python -m study results/reference --checkpoints checkpoints -o results
