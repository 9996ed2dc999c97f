#!/bin/sh
# Trains the reference checkpoints, one after the other: about six hours on one processor core. A training that was
# stopped goes on, and one that is done is left alone.
#
#   study/train.sh                    the families of study/families.yaml
#   study/train.sh --attention NAME   seeds 0 to 2 with another attention, as `ssmax-eval list` names it, trained the
#                                     same: checkpoints/NAME-seed0 to NAME-seed2
#
# Run it from the root of the checkout, with the texts to train on in `novels/`: Mansfield Park, Northanger Abbey,
# Persuasion, Sense and Sensibility. Emma and Pride and Prejudice are kept for measuring.
set -e
train() { name=$1; shift; ssmax-eval train cpu --text novels -o "checkpoints/$name" "$@"; }

case $#:$1 in
  0:) ;;
  2:--attention)
    family=$(printf %s "$2" | tr ':=,/' '----')
    for seed in 0 1 2; do
      train "$family-seed$seed" --attention "$2" --seed $seed
    done
    exit ;;
  *) echo "usage: study/train.sh [--attention NAME]; given: $*" >&2; exit 2 ;;
esac

for seed in 0 1 2 3 4; do
  train softmax-seed$seed --attention softmax --seed $seed --set keep_at=[0.75]
  train ssmax-seed$seed --attention ssmax --seed $seed
  train lssar-seed$seed --attention lssar:p=15 --seed $seed
done
train lssa-seed0 --attention lssa --seed 0
train lssar-p3-seed0 --attention lssar:p=3 --seed 0
train ssmax-bias-seed0 --attention ssmax --set learn=[s,b] --seed 0
train ssmax-s1-seed0 --attention ssmax:s=1 --seed 0
# Softmax until three quarters of the training, or until its end and a tenth more; SSMax from there.
train ssmax-late-seed0 --attention ssmax --from checkpoints/softmax-seed0/step-1875 --set start_step=1875 --seed 0
for seed in 0 1 2; do
  train ssmax-after-seed$seed --attention ssmax --from checkpoints/softmax-seed$seed \
    --set steps=2750 --set start_step=2500 --seed $seed
done
# A closer look at what does not hold: three times the steps, text alone, and text alone in longer sequences.
text="--set needle_sequences=0 --set table_sequences=0"
for attention in softmax ssmax; do
  train $attention-long-seed0 --attention $attention --seed 0 --set steps=7500
  train $attention-text-seed0 --attention $attention --seed 0 --set text_sequences=24 $text
  for seed in 0 1 2; do
    train $attention-512-seed$seed --attention $attention --seed $seed --set train_length=512 --set text_sequences=6 $text
  done
done
# The factor on the scores left free for every n, on text alone: does log n come out?
train per-n-seed0 --attention per_n --seed 0 --set text_sequences=24 $text
train per-n-512-seed0 --attention per_n --seed 0 --set train_length=512 --set text_sequences=6 $text
train ssmax-s1-text-seed0 --attention ssmax:s=1 --seed 0 --set text_sequences=24 $text
