#!/bin/sh
# Measures every checkpoint in `checkpoints/` into `results/reference/`, as trained and with RoPE's base raised by 50,
# and writes results/README.md. Run it from a folder with `texts/emma.txt` and `texts/prideprejudice.txt`, which no
# training saw. A finished cell is not measured again.
set -e
for checkpoint in checkpoints/*/; do
  for scale in 1 50; do
    ssmax-eval run "${checkpoint%/}" --task niah_reference --task key_attention_reference --task loss_reference \
      --text texts/emma.txt --text texts/prideprejudice.txt --rope-theta-scale $scale -o results/reference
  done
done
ssmax-eval claims results/reference --checkpoints checkpoints -o results
