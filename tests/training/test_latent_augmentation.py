"""Re-quantized codes: of noisy latents, different each time, of the same class."""

import pytest
import torch

from tests.fakes import generator, tiny_tokenizer, tiny_weight_vq
from training.data.latent_augmentation import augment_sequences, requantize_with_noise
from weightgpt.errors import InputError
from weightgpt.tokens.tokenizer import WeightTokenizer


def random_codes(quantizer, count: int):
    size = (count, quantizer.num_chunks, quantizer.num_quantizers)
    return torch.randint(quantizer.codebook_size, size, generator=generator(3))


def tiny_codes(count: int):
    return random_codes(tiny_tokenizer().quantizer, count)


def test_without_noise_the_codes_are_those_of_the_latents():
    quantizer, codes = tiny_tokenizer().quantizer, tiny_codes(64)
    same = requantize_with_noise(quantizer, codes, 0.0, generator(0))
    assert torch.equal(same, quantizer.quantize(quantizer.latents(codes)))


def test_noise_is_in_standard_deviations_of_each_latent_dimension_over_the_shapes():
    """One shape is repeated very often; its codes are compared with codes of latents that the test makes noisy."""
    quantizer, codes = tiny_tokenizer().quantizer, tiny_codes(4000)
    codes[1::2] = codes[0]
    latents = quantizer.latents(codes)
    actual = requantize_with_noise(quantizer, codes, 0.7, generator(0))[1::2]
    noise = torch.randn(2000, *latents.shape[1:], generator=generator(1)) * latents.std(0)
    expected = quantizer.quantize(latents[0] + 0.7 * noise)
    for chunk in range(quantizer.num_chunks):
        shares = [part[:, chunk, 0].bincount(minlength=quantizer.codebook_size) / 2000 for part in (actual, expected)]
        assert shares[0].tolist() == pytest.approx(shares[1].tolist(), abs=0.05)


def test_more_noise_moves_the_latents_farther():
    quantizer, codes = tiny_tokenizer().quantizer, tiny_codes(64)
    latents = quantizer.latents(codes)
    noisy = [requantize_with_noise(quantizer, codes, noise, generator(0)) for noise in (0.0, 0.5, 2.0)]
    distances = [float((quantizer.latents(part) - latents).norm()) for part in noisy]
    assert distances[0] < distances[1] < distances[2]


def test_augmented_sequences_have_the_same_classes_and_differ():
    tokenizer, labels = tiny_tokenizer(), ["chair", "table"] * 8
    input_ids = tokenizer.vocabulary.ids(tiny_codes(16), labels)
    augmented = augment_sequences(tokenizer, input_ids, 3, 0.5, 0)
    assert tokenizer.vocabulary.parse(augmented)[1] == labels * 3
    assert not torch.equal(augmented[:16], augmented[16:32])
    assert torch.equal(augmented, augment_sequences(tokenizer, input_ids, 3, 0.5, 0))
    assert not torch.equal(augmented, augment_sequences(tokenizer, input_ids, 3, 0.5, 1))


def test_a_tokenizer_without_latents_is_refused():
    tokenizer = WeightTokenizer.create(tiny_weight_vq(), ["chair"])
    input_ids = tokenizer.vocabulary.ids(random_codes(tokenizer.quantizer, 1), ["chair"])
    with pytest.raises(InputError, match="no latents to add noise to"):
        augment_sequences(tokenizer, input_ids, 1, 0.5, 0)
