// The four Unicode normalization forms, keeping track of where each character came from. Data is
// utf8proc's restricted to Unicode 9, which is what the reference tokenizers normalize with.
#pragma once

#include "text/aligned_text.h"

namespace aquatint::text {

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };

void normalize_unicode(NormalizationForm form, AlignedText& text);

}  // namespace aquatint::text
