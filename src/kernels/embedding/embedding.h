// Embedding lookup: rows of a table, chosen by token id, as float32. Tables stay in their stored
// type, mapped checkpoints included, and only the rows asked for are read.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "device/stream.h"

namespace aquatint::kernels {

// y[i, :] = table[ids[i], :] as float32 for i < rows. table [vocabulary, columns], float32, float16
// or bfloat16, need not be aligned. Error kInvalidArgument for an id outside [0, vocabulary).
void embed_rows(const void* table, DType dtype, std::int64_t vocabulary, std::int64_t columns,
                const std::int32_t* ids, std::int64_t rows, float* y);

// y[i, :] = values[ids[i], :] * scales[ids[i]]: a table quantized to int8 with one scale per row.
// values [vocabulary, columns], scales [vocabulary]. Error kInvalidArgument for an id outside [0,
// vocabulary).
void embed_rows_int8(const std::int8_t* values, const float* scales, std::int64_t vocabulary,
                     std::int64_t columns, const std::int32_t* ids, std::int64_t rows, float* y);

// The same on the stream's device, where all pointers are. On a GPU the ids are not looked at: the
// caller has checked them, and tables are aligned to their elements.
void embed_rows(Stream& stream, const void* table, DType dtype, std::int64_t vocabulary,
                std::int64_t columns, const std::int32_t* ids, std::int64_t rows, float* y);
void embed_rows_int8(Stream& stream, const std::int8_t* values, const float* scales,
                     std::int64_t vocabulary, std::int64_t columns, const std::int32_t* ids,
                     std::int64_t rows, float* y);

}  // namespace aquatint::kernels
