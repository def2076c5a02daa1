"""What every measure of a claim has to be, written down before the test is opened (chapter 10).

A limit is of a ratio, a difference or a score as `report.claims` computes it. Each was set by what the paper prints, by
what a comparison says by itself (1 for a ratio, 0 for a difference), or by what validation samples showed.
"""

LIMITS = {  # on rendered hands, and on STB and RHD
    # The paper's own ratio is 1.01 on either set; the claim asks for no more than a tenth above.
    "1 error, times the cross-modal VAE's": 1.10,
    # As steady, as near to the bound: a comparison's own limits.
    "2 movement, times alternating's": 1.0,
    "2 spread, times alternating's": 1.0,
    "2 final bound, above alternating's": 0.0,
    # As good as a network that reads one thing only, to the tenth of claim 1; one model's two answers half as far apart
    # as those of two models, so that they are visibly one.
    "3 error, times a regressor's of it alone": 1.10,
    "3 decoded and composed apart, times two trainings": 0.5,
    "4 error, times the two streams'": 1.0,
    "5 error, times that with fewer labels": 1.0,
    "6 PSNR, above the best baseline's": 0.0,
    "6 SSIM, above the best baseline's": 0.0,
    "6 pose read off, times the best baseline's": 1.0,
    "6 room recognised, above training images'": 0.0,
    "6 Fréchet distance, times the cross-modal VAE's": 1.0,
    # Of a full exchange; what two true images differ by is taken away first.
    "7 drift": 0.25,
    "7 movement": 0.5,
    "8 slope": 0.0,
    "9 score": 95.0,
    "9 above another code's": 0.0,
    # The paper's largest of four (3, 3, 18, 35 per cent of what a part's own factor gives).
    "10 leak": 35.0,
}
# Claims 6 and 7 again, on photographs of the digits: the same, but that a student is told in place of a room. A student
# counts as taken where drawn images are told half as often as true ones.
ON_PHOTOGRAPHS = {
    name: limit for name, limit in LIMITS.items() if name.startswith(("6 ", "7 ")) and "room" not in name
} | {"6 student recognised, above half of the true images'": 0.0}


def limits_on(data: str) -> dict[str, float]:
    return ON_PHOTOGRAPHS if data == "digits" else LIMITS
